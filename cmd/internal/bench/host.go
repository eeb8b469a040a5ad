package bench

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// hostClock measures the CPU time of one goroutine. On a CPU driver the device's work is done by threads of the same
// process; they do not count.
type hostClock struct{ begin time.Duration }

// startHostClock binds the goroutine to its thread until stop.
func startHostClock() hostClock {
	runtime.LockOSThread()
	return hostClock{threadTime()}
}

// stop returns the CPU time since the start.
func (c hostClock) stop() time.Duration {
	defer runtime.UnlockOSThread()
	return threadTime() - c.begin
}

func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic("bench: internal error: CLOCK_THREAD_CPUTIME_ID: " + err.Error())
	}
	return time.Duration(t.Nano())
}
