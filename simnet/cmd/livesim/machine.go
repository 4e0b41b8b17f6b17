package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// wall is the machine's time in seconds, which the bubble hides.
func wall() float64 {
	var tv syscall.Timeval
	_ = syscall.Gettimeofday(&tv)
	return float64(tv.Sec) + float64(tv.Usec)/1e6
}

// processor is how many seconds of processor time this process has used.
func processor() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// resident is a figure of the process's memory in MB; "?" where the system does not say.
func resident(name string) string {
	raw, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(raw), name+":")
	kb, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.Atoi(kb)
	if err != nil {
		return "?"
	}
	return strconv.Itoa(n * 1024 / 1_000_000)
}
