// SPDX-License-Identifier: Apache-2.0

// Package page finds one page of a long list of numbered messages, and looks at
// as few of them as it can.
//
// Promise: the work of one search is bounded, however long the list is.
//
// Spec:     XEP-0059 §2, XEP-0313 §4.
// Runs:     nothing of its own.
// Touches:  nothing.
// Imports:  nothing of ours.
package page
