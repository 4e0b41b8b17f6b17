package mailbox

// Root is the Merkle root that the receipt's signature covers. All receipts of
// one commit have the same root and the same signature: whoever has verified
// one of them may take another with an equal root, signature and relay after
// comparing its box and envelope.
func (r *Receipt) Root() [32]byte {
	root := r.leaf()
	for i, sibling := range r.Path {
		if r.Sides>>i&1 == 1 {
			root = inner(sibling, root)
		} else {
			root = inner(root, sibling)
		}
	}
	return root
}
