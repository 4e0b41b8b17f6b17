//go:build !unix

package hooks

import "os/exec"

// alone is for systems with process groups; elsewhere the command alone is ended.
func alone(*exec.Cmd) {}
