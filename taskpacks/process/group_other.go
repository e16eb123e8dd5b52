//go:build unix && !linux

package process

import (
	"os"
	"syscall"
)

const bytesWaiting = 0x4004667f // FIONREAD, on all BSDs

const polling = "" // memory is not bounded at all

func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// waitFor waits for a child to end, calls ended and returns its status.
func waitFor(pid int, ended func()) (status syscall.WaitStatus) {
	for {
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			ended()
			return status
		}
	}
}

// Without /proc, memory is not watched, what a call leaves in its group stays until its worker ends, and what outlives the node
// stays.

func confine(int, int64) {}

// members returns pgid itself: who else is in the group is not known.
func members(pgid int) []int { return []int{pgid} }

func killLeft(string) {}

func addMemory(map[int]int64) {}

func resident(int) int64 { return 0 }

func openForks() *os.File { return nil }

func (h *Host) lastPID() int { return 0 }
