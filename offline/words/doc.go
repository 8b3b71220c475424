// SPDX-License-Identifier: Apache-2.0

// Package words looks for words in what messages say.
//
// Promise: the work is one pass over the message; nothing of it is kept.
//
// Spec:     XEP-0431 §2.2.
// Runs:     nothing of its own.
// Touches:  nothing.
// Imports:  nothing of ours.
package words
