package faults

func lie(args []string) int { return 1 }
