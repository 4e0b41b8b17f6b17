// Package crypto is the map of kith's cryptography; it holds no code.
package crypto
