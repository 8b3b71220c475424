// SPDX-License-Identifier: Apache-2.0

// Package blob keeps uploaded files: one file each, named by a hash of its
// random id, with a sealed head that says whose it is and until when.
//
// Promise: what Open gives was written whole and is on disk; what has expired
// or was forgotten is given to nobody and is not in the folder any more.
//
// Spec:     XEP-0363 §"Upload purpose".
// Runs:     nothing; methods may be called by anyone.
// Touches:  its own folder inside the data folder.
// Imports:  nothing of ours.
package blob
