package node

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"time"
)

const pressureEvery = 2 * time.Second

// watchPressure tells the others how busy this machine is: the larger of CPU and
// memory in use, 0 to 255. Where /proc does not tell, nothing is told.
func watchPressure(ctx context.Context, tell func(byte)) {
	tick := time.NewTicker(pressureEvery)
	defer tick.Stop()
	busy, total := cpuTimes()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		b, t := cpuTimes()
		cpu := 0.0
		if t > total {
			cpu = float64(b-busy) / float64(t-total)
		}
		busy, total = b, t
		// A sixteenth is fine enough: every change is gossiped.
		tell(byte(min(255, max(cpu, memoryUsed())*255)) &^ 0x0f)
	}
}

// cpuTimes returns the ticks that the machine's CPUs spent working, and in all.
func cpuTimes() (busy, total uint64) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	for i, f := range bytes.Fields(line) {
		if i == 0 || i > 8 { // "cpu"; guest times are part of user time
			continue
		}
		n, _ := strconv.ParseUint(string(f), 10, 64)
		total += n
		if i != 4 && i != 5 { // idle, iowait
			busy += n
		}
	}
	return busy, total
}

// memoryUsed returns the part of the machine's memory that is not available.
func memoryUsed() float64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	total, free := memField(text, "MemTotal:"), memField(text, "MemAvailable:")
	if total == 0 || free > total {
		return 0
	}
	return 1 - float64(free)/float64(total)
}

func memField(text []byte, name string) uint64 {
	_, rest, ok := bytes.Cut(text, []byte(name))
	if !ok {
		return 0
	}
	fields := bytes.Fields(rest[:min(len(rest), 40)])
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseUint(string(fields[0]), 10, 64)
	return n
}
