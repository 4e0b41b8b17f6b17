// Package files moves the files of messages: it seals what a person sends into the device's own chunk store, brings the
// chunks to relays, fetches those of others from several sources at once, and writes a file into a folder.
//
// What it guarantees: a file is sealed once, however many devices get it; of a chunk that is here nothing is fetched or
// sent again, whatever ended in between; a file appears in a folder under its name only when every byte of it was
// authenticated and is on the disk, inside that folder, and in place of nothing; memory does not grow with files.
// What it does not: it decides nothing that lasts. What is done when is the ledger's word (node/transfer), and it asks
// nobody but those whom a job names.
package files
