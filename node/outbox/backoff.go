package outbox

import "time"

// The pauses between tries: a random part, at least RetryFloor, of a ceiling that doubles.
const (
	RetryMin     = 2 * time.Second
	RetryMax     = 2 * time.Minute
	retryLateMin = 5 * time.Minute
	retryLateMax = 6 * time.Hour
	// RetryLate is the age from which the late ceiling holds.
	RetryLate  = time.Hour
	RetryFloor = 100 * time.Millisecond
)

// Ceiling is the longest wait before attempt number n+1 of something of this age.
func Ceiling(n int, age time.Duration) time.Duration {
	low, high := RetryMin, RetryMax
	if age >= RetryLate {
		low, high = retryLateMin, retryLateMax
	}
	if n >= 16 {
		return high
	}
	return min(high, low<<max(n-1, 0))
}
