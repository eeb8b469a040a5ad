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
	return hostClock{cpuTime(unix.CLOCK_THREAD_CPUTIME_ID)}
}

// stop returns the CPU time since the start.
func (c hostClock) stop() time.Duration {
	defer runtime.UnlockOSThread()
	return cpuTime(unix.CLOCK_THREAD_CPUTIME_ID) - c.begin
}

// cpuTime is what the thread or the process has used of all processors, by one of the clocks for it.
func cpuTime(clock int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		panic("bench: internal error: clock_gettime: " + err.Error())
	}
	return time.Duration(t.Nano())
}
