package witness

const (
	// MaxProof is the size of the largest proof: of two lists of 16 devices.
	MaxProof = 1 + 2*(4+maxList)
	maxList  = 1456

	// MaxProofText bounds what is looked at for a proof in its text form.
	MaxProofText = 8 << 10
)
