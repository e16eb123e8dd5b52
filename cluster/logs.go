package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const repeatAfter = 30 * time.Second // the same warning is logged at most this often; in between at debug level

// limiter keeps raft and memberlist from repeating one warning ten times a second while a node is down.
type limiter struct {
	mu   sync.Mutex
	last map[string]time.Time // guarded by mu; the libraries have a bounded number of messages
}

// level returns the level at which to log msg.
func (l *limiter) level(level slog.Level, msg string) slog.Level {
	if level < slog.LevelWarn {
		return level
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.last[msg]) < repeatAfter {
		return slog.LevelDebug
	}
	if len(l.last) > 1000 {
		clear(l.last)
	}
	l.last[msg] = now
	return level
}

// raftLog passes raft's log to slog, one level down: what raft calls an error heals by itself or is reported by us.
type raftLog struct {
	log     *slog.Logger
	name    string
	implied []any
	limit   *limiter
}

func newRaftLog(l *slog.Logger) hclog.Logger {
	return &raftLog{log: l, name: "raft", limit: &limiter{last: make(map[string]time.Time)}}
}

// Log implements hclog.Logger, as do the methods below.
func (r *raftLog) Log(level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	if level >= hclog.Error {
		to = slog.LevelWarn
	} else if level == hclog.Warn {
		to = slog.LevelInfo
	}
	if ctx := context.Background(); r.log.Enabled(ctx, to) {
		for i, arg := range args {
			if f, ok := arg.(hclog.Format); ok && len(f) > 0 {
				args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
			}
		}
		r.log.Log(ctx, r.limit.level(to, msg), "raft: "+msg, args...)
	}
}

func (r *raftLog) Trace(msg string, args ...any) { r.Log(hclog.Trace, msg, args...) }
func (r *raftLog) Debug(msg string, args ...any) { r.Log(hclog.Debug, msg, args...) }
func (r *raftLog) Info(msg string, args ...any)  { r.Log(hclog.Info, msg, args...) }
func (r *raftLog) Warn(msg string, args ...any)  { r.Log(hclog.Warn, msg, args...) }
func (r *raftLog) Error(msg string, args ...any) { r.Log(hclog.Error, msg, args...) }

func (r *raftLog) enabled(l slog.Level) bool { return r.log.Enabled(context.Background(), l) }
func (r *raftLog) IsTrace() bool             { return false }
func (r *raftLog) IsDebug() bool             { return r.enabled(slog.LevelDebug) }
func (r *raftLog) IsInfo() bool              { return r.enabled(slog.LevelDebug) }
func (r *raftLog) IsWarn() bool              { return r.enabled(slog.LevelInfo) }
func (r *raftLog) IsError() bool             { return r.enabled(slog.LevelWarn) }

func (r *raftLog) ImpliedArgs() []any { return r.implied }
func (r *raftLog) With(args ...any) hclog.Logger {
	return &raftLog{log: r.log.With(args...), name: r.name, implied: append(r.implied[:len(r.implied):len(r.implied)],
		args...), limit: r.limit}
}
func (r *raftLog) Name() string                   { return r.name }
func (r *raftLog) Named(string) hclog.Logger      { return r }
func (r *raftLog) ResetNamed(string) hclog.Logger { return r }
func (r *raftLog) SetLevel(hclog.Level)           {}
func (r *raftLog) GetLevel() hclog.Level          { return hclog.Info }
func (r *raftLog) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(r.log.Handler(), slog.LevelDebug)
}
func (r *raftLog) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return io.Discard }

// gossipLog passes memberlist's lines, such as "[WARN] memberlist: text", to slog.
type gossipLog struct {
	log       *slog.Logger
	limit     *limiter
	strangers *strangers
}

func newGossipLog(l *slog.Logger, s *strangers) io.Writer {
	return &gossipLog{log: l, limit: &limiter{last: make(map[string]time.Time)}, strangers: s}
}

// Write takes one line.
func (g *gossipLog) Write(line []byte) (int, error) {
	n := len(line)
	line = bytes.TrimRight(line, "\n")
	level := slog.LevelDebug // "[INFO]" and "[DEBUG]"
	if tag, rest, ok := bytes.Cut(line, []byte("] ")); ok {
		switch string(tag) {
		case "[ERR", "[ERROR":
			level = slog.LevelWarn
		case "[WARN":
			level = slog.LevelInfo
		}
		line = bytes.TrimPrefix(rest, []byte("memberlist: "))
	}
	if text := string(line); otherSecret(text) {
		g.strangers.note("gossip", text)
		level = slog.LevelDebug
	}
	if ctx := context.Background(); g.log.Enabled(ctx, level) {
		key, _, _ := bytes.Cut(line, []byte(":"))
		g.log.Log(ctx, g.limit.level(level, string(key)), "gossip: "+string(line))
	}
	return n, nil
}
