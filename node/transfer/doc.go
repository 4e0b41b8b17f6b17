// Package transfer decides about files on their way: which of them this device fetches, from whom, when it tries again,
// which chunk is asked of whom, and under what name a file of somebody else may appear in a folder.
//
// What it guarantees: nothing of a person who is no contact is fetched before somebody asks; no chunk is asked of two
// sources at once; a name that it lets through names one file in one folder, on any system, and shows what it is.
// What it does not: it moves no bytes. node/files does, and answers each Job with a Result.
package transfer
