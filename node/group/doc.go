// Package group says who belongs to a group: a log of signed entries, and the one state that every device reduces it to,
// whatever order the entries arrive in.
//
// An entry names the entries that its author knew (parents), so that the log is a graph with the creation as its root.
// Log.Merge takes an entry only after its parents, and only if in the state of what it builds on its author may do what
// it does: an admin anything, a member leave. That depends on nothing that anybody receives later, so that all devices
// refuse the same entries.
//
// Of what happened at the same time the state says who wins:
//   - A removal (a person is removed, or is no admin any more) hits what the removed did without knowing of it: those
//     acts are void, and so is what anybody did by a right that such an act gave. Leaving is never void.
//   - Removals that hit each other are decided by their authors' seniority (time in the group), then by hash.
//   - The rest is applied in order of (Lamport, hash), each if its author may do so by then.
//   - When nobody is an admin any more, the most senior member is.
//
// It guarantees: two logs with the same entries have the same state; an entry is exactly what a device signed that its
// author's own list named; bounded size and cost whatever members sign. It does not guarantee: that a log is complete
// (compare heads); that a list named by an entry is the author's newest, which is for the engine to compare; order against
// real time, since authors say theirs.
package group
