package blob

const (
	// KeySize is the size of a file's key, in bytes.
	KeySize = 32
	// ChunkSize is how many bytes of the padded file one chunk holds; the last
	// may hold fewer.
	ChunkSize = 1 << 20
	// Overhead is what a chunk grows by when it is sealed, in bytes.
	Overhead = 16
	// MaxChunk is the largest sealed chunk and the largest sealed manifest, in bytes.
	MaxChunk = ChunkSize + Overhead
	// MaxChunks is how many chunks a file may have: their digests fit a manifest
	// of one chunk.
	MaxChunks = 32_000
	// StreamChunk is how many bytes one chunk of a stream holds; the last may hold
	// fewer.
	StreamChunk = 64 << 10
	// MinPadded is the least size that a file is padded to, in bytes.
	MinPadded = 256

	// version is the first byte of a manifest.
	version = 1
	// manifestHead is version 1 | size u64, in bytes.
	manifestHead = 1 + 8
	// manifestOver is commitment 32 | what sealing adds, in bytes.
	manifestOver = 32 + Overhead
)
