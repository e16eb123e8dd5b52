package process

import (
	"context"
	"io"

	"pytasks/taskpacks"
)

// keepStderr is how much of the end of what a program printed Output.Stderr has, in bytes.
const keepStderr = 4 << 10

// Output is the outcome of a program that ended by itself.
type Output struct {
	Exit   int    // its status
	Stdout []byte // if that was asked for
	FD4    []byte // what it wrote to file descriptor 4
	Stderr []byte // the end of what it printed as log, 4 KiB
}

// Once runs a program to its end in a fresh folder, which is also its HOME and TMPDIR, with stdin as its input. What it prints on
// standard error, and on standard output unless that is the result, goes to the log of ctx's call.
//
// The error is a *taskpacks.Error of ReasonCrash if it was ended by a signal, of ReasonMemory, a permanent one if Stdout or FD4 is
// longer than a result may be; a *StartError; ErrClosed; or wraps ctx's error if that ended first: then the processes are gone.
func (h *Host) Once(ctx context.Context, p Program, stdin []byte) (Output, error) {
	if err := h.enter(); err != nil {
		return Output{}, err
	}
	defer h.wg.Done()
	if ctx.Err() != nil {
		return Output{}, stopped(ctx, nil)
	}
	dir, err := h.folder()
	if err != nil {
		return Output{}, err
	}
	defer h.discard(dir)

	var pipes plumbing
	input, stdinTo := pipes.outlet()
	printed, stderr := pipes.inlet()
	fd4From, fd4 := pipes.inlet()
	var stdoutFrom *inlet
	stdout := stderr
	if p.Stdout {
		stdoutFrom, stdout = pipes.inlet()
	}
	g, err := h.start(p, dir, &pipes, input, stdout, stderr, h.null, fd4)
	if err != nil {
		return Output{}, err
	}
	h.watch.add(g)
	log := newLogPipe(printed, keepStderr, nil)
	log.begin(taskpacks.Log(ctx))
	h.wg.Go(log.run)
	h.wg.Go(func() {
		defer stdinTo.Close()
		stdinTo.Write(stdin) // that a program does not read it is its own affair
	})
	results := []*capture{h.capture(g, fd4From)}
	if p.Stdout {
		results = append(results, h.capture(g, stdoutFrom))
	}

	told := make(chan struct{})
	forget := context.AfterFunc(ctx, func() {
		defer close(told)
		g.stop(nil)
	})
	<-g.done
	intime := forget()
	if !intime {
		<-told
	}
	h.watch.remove(g)
	<-log.ended
	out := Output{Exit: g.status.ExitStatus(), Stderr: []byte(log.finish())}
	long := int64(0)
	for _, c := range results {
		<-c.ended
		long = max(long, c.size)
	}
	out.FD4 = results[0].kept
	if p.Stdout {
		out.Stdout = results[1].kept
	}

	switch {
	case !intime:
		return out, stopped(ctx, nil)
	case long > h.cfg.MaxResult:
		return out, tooLarge(long, h.cfg.MaxResult)
	case g.hog.Load() || g.status.Signaled() || h.isClosed():
		return out, g.death(string(out.Stderr))
	}
	return out, nil
}

// capture is what a program writes as its result.
type capture struct {
	kept  []byte
	size  int64 // of all that was written, as far as it was read
	ended chan struct{}
}

// capture reads a result to its end. A program that writes more than a result may have is killed.
func (h *Host) capture(g *group, in *inlet) *capture {
	c := &capture{ended: make(chan struct{})}
	h.wg.Go(func() {
		defer close(c.ended)
		defer in.f.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := in.Read(buf)
			c.size += int64(n)
			if c.size > h.cfg.MaxResult {
				g.kill()
				return
			}
			c.kept = append(c.kept, buf[:n]...)
			if err == io.EOF {
				return
			}
		}
	})
	return c
}
