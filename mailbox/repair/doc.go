// Package repair decides how a relay keeps its boxes whole together with the
// other relays of their sets: whom it compares with and when, which relay
// counts as lost, when a standby takes over, whose word is tested, and what one
// visit to a co-member says and believes. docs/protocol.md, section 4.10.
//
// Repair is pull: a relay stores only what it asked for and checked by its own
// rules. Nobody acts on what a third party says of another: silence, leaving and
// failed proofs count only as this relay saw them, and tombstones only with the
// owner's signature. A wrong judgement costs a copy too many, never one too few.
//
// Planner is deterministic: the same calls with the same times and entropy give
// the same visits. It holds no clock and no connection; Local.Visit is plain
// sequential code over the Wire that it is given. What the planner knows is lost
// with the process; that only delays: silence then counts anew.
package repair
