package node

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// simFault is one thing that goes wrong, for a while. It returns when it is mended, and
// says whether it had any effect.
type simFault struct {
	name   string
	weight int
	run    func(s *simStorm) (effect bool)
}

// simFaults are all that may go wrong. Those that end processes leave machines that the
// nodes' supervisor starts again.
var simFaults = []simFault{
	{"kill", 6, (*simStorm).kill},
	{"kill the leader", 4, (*simStorm).killLeader},
	{"kill all", 1, (*simStorm).killAll},
	{"power off", 3, (*simStorm).powerOff},
	{"power off all", 1, (*simStorm).powerOffAll},
	{"restart", 3, (*simStorm).restart},
	{"restart the leader", 3, (*simStorm).restartLeader},
	{"minority cut off", 4, (*simStorm).minority},
	{"leader cut off", 4, (*simStorm).leaderCutOff},
	{"one-way cut", 3, (*simStorm).oneWay},
	{"bridge", 2, (*simStorm).bridge},
	{"cable pulled", 3, (*simStorm).unplug},
	{"loss", 3, (*simStorm).loss},
	{"slow network", 3, (*simStorm).slowNetwork},
	{"slow disk", 2, (*simStorm).slowDisk},
	{"disk hangs", 2, (*simStorm).hungDisk},
	{"disk full", 2, (*simStorm).fullDisk},
	{"little space", 2, (*simStorm).littleSpace},
	{"clock jumps", 3, (*simStorm).clock},
	{"disk lost", 1, (*simStorm).lostDisk},
}

// simStorm draws faults and lets them happen, one after another. Several storms may rage
// in one world: a machine is struck by one fault at a time.
type simStorm struct {
	w    *simWorld
	rng  *rand.Rand
	busy *simBusy // shared by the storms of a world
}

// simBusy keeps the machines that a fault has hold of.
type simBusy struct {
	mu    sync.Mutex
	taken map[*simMachine]bool // guarded by mu
}

// rage strikes until the end.
func (s *simStorm) rage(until time.Time) {
	total := 0
	for _, f := range simFaults {
		total += f.weight
	}
	for {
		time.Sleep(s.between(2*time.Second, 25*time.Second))
		if !time.Now().Before(until) {
			return
		}
		draw := s.rng.IntN(total)
		i := 0
		for ; draw >= simFaults[i].weight; i++ {
			draw -= simFaults[i].weight
		}
		s.w.note("fault begins: "+simFaults[i].name, "")
		effect := simFaults[i].run(s)
		s.w.felt(effect)
		s.w.note(fmt.Sprintf("fault ends: %s, effect %v", simFaults[i].name, effect), "")
	}
}

// between draws a time, short ones more often.
func (s *simStorm) between(low, high time.Duration) time.Duration {
	f := s.rng.Float64()
	return low + time.Duration(f*f*float64(high-low))
}

// take gets hold of up to so many of some machines, in a random order; give lets go.
func (s *simStorm) take(count int, from ...*simMachine) (took []*simMachine) {
	s.busy.mu.Lock()
	defer s.busy.mu.Unlock()
	for _, i := range s.rng.Perm(len(from)) {
		if m := from[i]; m != nil && len(took) < count && !s.busy.taken[m] {
			s.busy.taken[m] = true
			took = append(took, m)
		}
	}
	return took
}

func (s *simStorm) give(ms []*simMachine) {
	s.busy.mu.Lock()
	defer s.busy.mu.Unlock()
	for _, m := range ms {
		delete(s.busy.taken, m)
	}
}

// down ends processes in some way, lets time pass and starts them again.
func (s *simStorm) down(ms []*simMachine, end func(*simMachine), low, high time.Duration) bool {
	defer s.give(ms)
	var wg sync.WaitGroup
	for _, m := range ms {
		s.w.note("goes down", m.name)
		wg.Go(func() { end(m) })
	}
	wg.Wait()
	for _, m := range ms {
		time.Sleep(s.between(low, high) / time.Duration(len(ms)))
		m.start()
	}
	return len(ms) > 0
}

func (s *simStorm) kill() bool {
	return s.down(s.take(1+s.rng.IntN(2), s.w.machines...), (*simMachine).kill, 0, time.Minute)
}

func (s *simStorm) killLeader() bool {
	return s.down(s.take(1, s.w.leader()), (*simMachine).kill, 0, time.Minute)
}

func (s *simStorm) killAll() bool {
	return s.down(s.take(len(s.w.machines), s.w.machines...), (*simMachine).kill, 0, 10*time.Second)
}

func (s *simStorm) losePower(m *simMachine) {
	if err := m.losePower(rand.New(rand.NewPCG(s.w.seed, uint64(m.boot.Load())))); err != nil {
		s.w.t.Errorf("cut the power of %s: %v", m.name, err)
	}
}

func (s *simStorm) powerOff() bool {
	return s.down(s.take(1+s.rng.IntN(2), s.w.machines...), s.losePower, 0, time.Minute)
}

func (s *simStorm) powerOffAll() bool {
	return s.down(s.take(len(s.w.machines), s.w.machines...), s.losePower, 0, 10*time.Second)
}

func (s *simStorm) restart() bool {
	return s.down(s.take(1, s.w.machines...), (*simMachine).stop, 0, 5*time.Second)
}

func (s *simStorm) restartLeader() bool {
	return s.down(s.take(1, s.w.leader()), (*simMachine).stop, 0, 5*time.Second)
}

// cut keeps pairs of machines apart for a while. Connections that are idle do not notice,
// so that the effect is counted by what was held up.
func (s *simStorm) cut(low, high time.Duration, pairs ...[2]*simMachine) bool {
	before := s.w.net.Stats()
	for _, p := range pairs {
		s.w.net.Cut(p[0].ip, p[1].ip)
		s.w.note("cut off from "+p[1].name, p[0].name)
	}
	time.Sleep(s.between(low, high))
	for _, p := range pairs {
		s.w.net.Heal(p[0].ip, p[1].ip)
	}
	return s.w.net.Stats() != before
}

// apart returns both directions between two groups.
func apart(a, b []*simMachine) (pairs [][2]*simMachine) {
	for _, x := range a {
		for _, y := range b {
			pairs = append(pairs, [2]*simMachine{x, y}, [2]*simMachine{y, x})
		}
	}
	return pairs
}

// split cuts some machines off from all others.
func (s *simStorm) split(some []*simMachine) bool {
	defer s.give(some)
	var others []*simMachine
	for _, m := range s.w.machines {
		in := false
		for _, x := range some {
			in = in || x == m
		}
		if !in {
			others = append(others, m)
		}
	}
	return len(some) > 0 && s.cut(2*time.Second, 3*time.Minute, apart(some, others)...)
}

func (s *simStorm) minority() bool {
	return s.split(s.take(1+s.rng.IntN((len(s.w.machines)+1)/2), s.w.machines...))
}

func (s *simStorm) leaderCutOff() bool { return s.split(s.take(1, s.w.leader())) }

func (s *simStorm) oneWay() bool {
	ms := s.take(2, s.w.machines...)
	defer s.give(ms)
	return len(ms) == 2 && s.cut(2*time.Second, time.Minute, [2]*simMachine{ms[0], ms[1]})
}

// bridge leaves one machine as the only one that reaches both halves of the others.
func (s *simStorm) bridge() bool {
	order := s.rng.Perm(len(s.w.machines))
	var halves [2][]*simMachine
	for i, at := range order[1:] {
		halves[i%2] = append(halves[i%2], s.w.machines[at])
	}
	return s.cut(2*time.Second, time.Minute, apart(halves[0], halves[1])...)
}

func (s *simStorm) unplug() bool {
	ms := s.take(1+s.rng.IntN(2), s.w.machines...)
	defer s.give(ms)
	before := s.w.net.Stats()
	for _, m := range ms {
		m.plug(false)
		s.w.note("cable pulled", m.name)
	}
	time.Sleep(s.between(2*time.Second, 3*time.Minute))
	for _, m := range ms {
		m.plug(true)
	}
	return s.w.net.Stats() != before
}

func (s *simStorm) loss() bool {
	before := s.w.net.Stats()
	s.w.net.SetLoss(0.02 + 0.2*s.rng.Float64())
	s.w.net.SetDuplicate(0.1)
	time.Sleep(s.between(5*time.Second, time.Minute))
	s.w.net.SetLoss(0)
	s.w.net.SetDuplicate(0)
	return s.w.net.Stats() != before
}

func (s *simStorm) slowNetwork() bool {
	s.w.net.SetDelay(50*time.Millisecond, s.between(60*time.Millisecond, 500*time.Millisecond))
	time.Sleep(s.between(5*time.Second, time.Minute))
	s.w.net.SetDelay(0, simDelay)
	return true
}

// disks changes the disks of some machines for a while.
func (s *simStorm) disks(count int, low, high time.Duration, begin, end func(*simDisk)) bool {
	ms := s.take(count, s.w.machines...)
	defer s.give(ms)
	for _, m := range ms {
		m.fault(begin)
		s.w.note("disk has a fault", m.name)
	}
	time.Sleep(s.between(low, high))
	effect := false
	for _, m := range ms {
		m.fault(func(d *simDisk) {
			effect = effect || d.hits > 0
			d.hits = 0
			end(d)
		})
	}
	return effect
}

func (s *simStorm) slowDisk() bool {
	s.disks(1+s.rng.IntN(2), 5*time.Second, time.Minute,
		func(d *simDisk) { d.latency = 100 * time.Millisecond }, func(d *simDisk) { d.latency = simLatency })
	return true
}

func (s *simStorm) hungDisk() bool {
	return s.disks(1, time.Second, time.Minute, func(d *simDisk) { d.hung = true }, func(d *simDisk) { d.hung = false })
}

func (s *simStorm) fullDisk() bool {
	count := 1 + s.rng.IntN(2)
	if s.rng.IntN(4) == 0 {
		count = len(s.w.machines)
	}
	return s.disks(count, time.Second, time.Minute, func(d *simDisk) { d.full, d.free = true, 0 }, func(d *simDisk) { d.full, d.free = false, simFree })
}

// littleSpace leaves a machine less space than its node is told to keep.
func (s *simStorm) littleSpace() bool {
	s.disks(1, 5*time.Second, time.Minute, func(d *simDisk) { d.free = 100 << 20 }, func(d *simDisk) { d.free = simFree })
	return true
}

// lostDisk replaces the disk of one machine of a whole cluster: its node is a new one, with
// the name and the address of the old.
func (s *simStorm) lostDisk() bool {
	all := s.take(len(s.w.machines), s.w.machines...)
	defer s.give(all)
	if len(all) < len(s.w.machines) || s.w.broken() != "" {
		return false
	}
	m := all[0]
	s.w.note("loses its disk", m.name)
	m.kill()
	if err := m.wipe(); err != nil {
		s.w.t.Errorf("wipe %s: %v", m.name, err)
	}
	time.Sleep(s.between(0, 30*time.Second))
	m.start()
	s.w.awaitWhole(2 * time.Minute)
	return true
}

// clock sets one machine's clock wrong; it stays so until the next such fault. Most clocks
// are right to some seconds.
func (s *simStorm) clock() bool {
	ms := s.take(1, s.w.machines...)
	defer s.give(ms)
	for _, m := range ms {
		most := 5 * time.Second
		if m == s.w.machines[0] || m == s.w.machines[1] {
			most = time.Hour
		}
		skew := time.Duration((2*s.rng.Float64() - 1) * float64(most))
		m.skew.Store(int64(skew))
		s.w.note("clock is off by "+skew.String(), m.name)
	}
	return len(ms) > 0
}
