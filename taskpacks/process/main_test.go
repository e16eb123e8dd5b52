//go:build linux

package process

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// roleKey is the environment variable that makes the test's program play a process of a task.
const roleKey = "PROCESS_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleKey) {
	case "":
		goleak.VerifyTestMain(m)
	case "worker":
		work(`{"ready":true}`)
	case "fatal":
		work(`{"fatal":{"type":"ImportError","message":"no module named x","traceback":"line 1"}}`)
	case "no memory":
		work(`{"fatal":{"type":"MemoryError","message":"","traceback":"line 1"}}`)
	case "hangs":
		fmt.Println("importing")
		interrupted := make(chan os.Signal, 1)
		signal.Notify(interrupted, os.Interrupt)
		<-interrupted
		work(`{"fatal":{"type":"KeyboardInterrupt","message":"","traceback":"line 7, in import"}}`)
	case "node":
		node(os.Args[1:])
	case "once":
		once(os.Args[1], os.Args[2:])
	case "child":
		child(os.Args[1:])
	}
}

// work is the life of a worker.
func work(first string) {
	in, out := bufio.NewReader(os.NewFile(3, "requests")), os.NewFile(4, "answers")
	send := func(text string) {
		out.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
	}
	send(first)
	if strings.Contains(first, "fatal") {
		return
	}
	for {
		var length [4]byte
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return
		}
		text := make([]byte, binary.BigEndian.Uint32(length[:]))
		if _, err := io.ReadFull(in, text); err != nil {
			return
		}
		var req struct {
			ID, Node, Task, Dir string
			Attempt             int
			Args                json.RawMessage
		}
		if err := json.Unmarshal(text, &req); err != nil {
			send(fmt.Sprintf(`{"error":{"type":"BadRequest","message":%q}}`, err))
			continue
		}
		var arg struct {
			N      int
			Text   string
			Argv   []string
			Setsid bool
		}
		json.Unmarshal(req.Args, &arg)
		switch req.Task {
		case "request":
			send(`{"result":` + string(text) + `}`)
		case "pid":
			send(fmt.Sprintf(`{"result":%d}`, os.Getpid()))
		case "env":
			env, _ := json.Marshal(os.Environ())
			send(`{"result": ` + string(env) + ` }`)
		case "mess": // in its folder, which must be as new
			entries, err := os.ReadDir(req.Dir)
			info, _ := os.Stat(req.Dir)
			if err != nil || len(entries) > 0 || info.Mode().Perm() != 0o700 {
				send(fmt.Sprintf(`{"error":{"message":"found %v, %v"}}`, entries, err))
				continue
			}
			switch arg.Text {
			case "file":
				os.WriteFile(req.Dir+"/file", []byte("text"), 0o400)
			case "tree":
				os.MkdirAll(req.Dir+"/a/b/c", 0o700)
				os.Chmod(req.Dir+"/a/b", 0)
			case "closed":
				os.Chmod(req.Dir, 0)
			case "removed":
				os.Remove(req.Dir)
			}
			send(fmt.Sprintf(`{"result":%q}`, req.Dir))
		case "raw": // any bytes instead of an answer
			out.WriteString(arg.Text)
		case "frame": // any frame instead of an answer
			send(arg.Text)
		case "long":
			send(`{"result":"` + strings.Repeat("x", arg.N-2) + `"}`)
		case "progress":
			send(`{"progress":[0.25,"a quarter"]}`)
			send(`{"progress":[0.5,"half"]}`)
			send(`{"result":null}`)
		case "print":
			line := []byte(strings.Repeat("x", 1<<16-1) + "\n")
			for left := arg.N; left > 0; left -= len(line) {
				os.Stdout.Write(line[:min(left, len(line))])
			}
			fmt.Fprint(os.Stderr, arg.Text)
			send(`{"result":1}`)
		case "print later":
			send(`{"result":1}`)
			os.Stdout.Write(make([]byte, arg.N))
		case "wait": // until told to stop
			interrupted := make(chan os.Signal, 1)
			signal.Notify(interrupted, os.Interrupt)
			send(`{"progress":[0,"waits"]}`)
			<-interrupted
			send(`{"error":{"type":"KeyboardInterrupt","message":"stopped","traceback":"line 3"}}`)
		case "stubborn": // never stops, and neither does a child
			signal.Ignore(os.Interrupt, syscall.SIGTERM)
			pid := spawn("child", false, "stubborn")
			send(fmt.Sprintf(`{"progress":[0,"%d"]}`, pid))
			time.Sleep(time.Hour)
		case "spawn": // leaves children behind
			pid := spawn("child", arg.Setsid, arg.Argv...)
			if arg.Argv[0] == "orphan" || arg.Argv[0] == "nothing" {
				syscall.Wait4(pid, nil, 0, nil)
			}
			send(fmt.Sprintf(`{"result":%d}`, pid))
		case "spawn and exit":
			pid := spawn("child", arg.Setsid, arg.Argv...)
			send(fmt.Sprintf(`{"progress":[0,"%d"]}`, pid))
			os.Exit(arg.N)
		case "exec":
			syscall.Exec(arg.Argv[0], arg.Argv, os.Environ())
		case "answer and exit":
			send(`{"result":1}`)
			os.Exit(0)
		case "error":
			send(`{"error":{"type":"ValueError","message":"bad","traceback":"line 9","permanent":true}}`)
		case "memory error":
			send(`{"error":{"type":"MemoryError","message":"","traceback":"line 9"}}`)
		case "allocate":
			held := allocate(arg.N)
			send(fmt.Sprintf(`{"result":%d}`, len(held)))
		case "allocate and wait":
			held := allocate(arg.N)
			send(`{"progress":[0,"holds"]}`)
			time.Sleep(time.Hour)
			_ = held
		case "children allocate":
			for range 2 {
				spawn("child", arg.Setsid, "allocate", fmt.Sprint(arg.N))
			}
			time.Sleep(time.Hour)
		}
	}
}

// allocate takes n bytes of the system.
func allocate(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	return b
}

// spawn starts a child that inherits everything, descriptors 3 and 4 too.
func spawn(role string, setsid bool, args ...string) int {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleKey+"="+role)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{os.NewFile(3, ""), os.NewFile(4, "")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: setsid}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	return cmd.Process.Pid
}

func child(args []string) {
	switch args[0] {
	case "sleep":
		time.Sleep(time.Hour)
	case "stubborn":
		signal.Ignore(os.Interrupt, syscall.SIGTERM)
		time.Sleep(time.Hour)
	case "orphan": // starts another one and leaves it alone
		spawn("child", false, "sleep")
	case "bomb": // args: how deep
		if args[1] != "" {
			for range 3 {
				spawn("child", false, "bomb", args[1][1:])
			}
		}
		time.Sleep(time.Hour)
	case "chatter": // also when nobody listens
		signal.Ignore(syscall.SIGPIPE)
		for {
			fmt.Println("noise")
		}
	case "allocate":
		var n int
		fmt.Sscan(args[1], &n)
		held := allocate(n)
		time.Sleep(time.Hour)
		_ = held
	}
}

// node is a node that waits for a call to end, which does not; it tells the worker's process id. args: its folder, and perhaps a
// limit of memory.
func node(args []string) {
	cfg := Config{Dir: args[0]}
	if len(args) > 1 {
		fmt.Sscan(args[1], &cfg.MaxMemory)
	}
	h, err := New(cfg)
	if err != nil {
		panic(err)
	}
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	p := h.NewPool(Program{Argv: []string{exe}, Env: []string{roleKey + "=worker"}})
	pid, err := p.Call(context.Background(), Request{Task: "pid"})
	if err != nil {
		panic(err)
	}
	o := observe(context.Background())
	go func() {
		<-o.progress
		fmt.Println(string(pid))
	}()
	p.Call(o, Request{Task: "stubborn"})
}

// once is a program that runs to its end.
func once(what string, args []string) {
	switch what {
	case "copy": // standard input to standard output and descriptor 4
		in, _ := io.ReadAll(os.Stdin)
		os.Stdout.Write(in)
		fmt.Fprint(os.NewFile(4, "result"), "four")
		fmt.Fprint(os.Stderr, "said")
	case "exit":
		fmt.Fprint(os.Stderr, args[0])
		os.Exit(3)
	case "env":
		dir, _ := os.Getwd()
		fmt.Print(strings.Join(append(os.Environ(), "cwd="+dir), "\n"))
		os.WriteFile("left", nil, 0o600)
	case "spawn": // args: setsid or not, and those of the child
		fmt.Print(spawn("child", args[0] == "setsid", args[1:]...))
	case "endless":
		for {
			os.Stdout.Write(make([]byte, 1<<16))
		}
	case "wait":
		fmt.Fprint(os.Stderr, "waits")
		time.Sleep(time.Hour)
	case "sh":
		syscall.Exec("/bin/sh", append([]string{"sh", "-c"}, args...), os.Environ())
	}
}
