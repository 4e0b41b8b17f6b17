// Command kith is a personal node of a peer-to-peer messenger, and the commands that talk to it.
package main

import (
	"os"

	"github.com/kith-im/kith/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
