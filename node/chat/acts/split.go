package acts

import "slices"

// Split takes s apart into states that each encode to at most room bytes, as far as single acts allow: merged in any
// order they are s again.
func (s State) Split(room int) []State {
	if len(s.Marshal()) <= room {
		return []State{s}
	}
	rest := s
	rest.edits, rest.unsends, rest.refused, rest.reactions = nil, nil, nil, nil
	out := []State{rest}
	for _, e := range s.edits {
		out = append(out, State{edits: []edit{e}})
	}
	for part := range slices.Chunk(s.unsends, splitCount) {
		out = append(out, State{unsends: part})
	}
	for part := range slices.Chunk(s.refused, splitCount) {
		out = append(out, State{refused: part})
	}
	for part := range slices.Chunk(s.reactions, splitCount) {
		out = append(out, State{reactions: part})
	}
	return out
}
