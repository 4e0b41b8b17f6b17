// Package identity says who a user is and which devices speak for them.
package identity
