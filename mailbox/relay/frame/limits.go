package frame

const (
	// Max bounds the body of every frame, in bytes.
	Max = 64 << 10
	// MaxFields bounds the protobuf fields of one frame, nested ones included,
	// so that a small frame cannot ask for a large memory.
	MaxFields = 1000
	// FlushAt is how much may wait to be written, in bytes, before Room waits.
	FlushAt = 64 << 10

	// readBuffer is the size of a busy stream's buffer, in bytes; a claim of more
	// gets as much again, and more only as its bytes arrive.
	readBuffer = 4 << 10
	// outBuffer is the size of a new buffer for frames that go out, in bytes.
	outBuffer = 2 << 10
)
