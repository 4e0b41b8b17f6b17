// Package prekeys decides how long the secrets of bundles live. A bundle stands
// in the directory, where nobody can take it out for the one who uses it, so
// that its secret has to outlive it: first flights are on their way, for 30
// days if need be. But every first flight that a relay has signed for is in our
// own boxes, and once those have been emptied nothing can come any more that a
// secret superseded well before is needed for. So a device that is online every
// day forgets its secrets within days, and no other loses a message by it.
package prekeys
