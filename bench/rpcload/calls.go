package main

import (
	"slices"
	"sync"
	"syscall"
	"time"
)

// A result is what a closed loop came to. Calls ended within the time count for the rate, all for
// the latencies; times in milliseconds where not said otherwise.
type result struct {
	Calls    int            `json:"calls"`
	All      int            `json:"all"`
	Failed   map[string]int `json:"failed"`
	Seconds  float64        `json:"seconds"`
	P50      float64        `json:"p50"`
	P99      float64        `json:"p99"`
	Max      float64        `json:"max"`
	CPU      float64        `json:"cpu_seconds"`
	Reopened int            `json:"reopened"`
}

type worker struct {
	plan      *plan
	number    int
	until     time.Time
	latencies []time.Duration
	calls     int
	failed    map[string]int
	reopened  int
}

func calls(p *plan) error {
	used := processorTime()
	until := time.Now().Add(time.Duration(p.Seconds * float64(time.Second)))
	workers := make([]*worker, p.Connections)
	errs := make([]error, p.Connections)
	var group sync.WaitGroup
	for i := range workers {
		// Each connection begins elsewhere, so that not all ask for the same at once.
		workers[i] = &worker{plan: p, number: i * len(p.Messages) / p.Connections, until: until,
			failed: map[string]int{}}
		group.Add(1)
		go func() {
			defer group.Done()
			errs[i] = workers[i].run()
		}()
	}
	group.Wait()
	told := result{Failed: map[string]int{}, Seconds: p.Seconds, CPU: processorTime() - used}
	var latencies []time.Duration
	for i, one := range workers {
		if errs[i] != nil {
			told.Failed["connection: "+errs[i].Error()]++
		}
		told.Calls += one.calls
		told.Reopened += one.reopened
		latencies = append(latencies, one.latencies...)
		for status, count := range one.failed {
			told.Failed[status] += count
		}
	}
	slices.Sort(latencies)
	told.All = len(latencies)
	if told.All > 0 {
		at := func(q float64) float64 {
			return float64(latencies[min(int(q*float64(told.All)), told.All-1)]) / 1e6
		}
		told.P50, told.P99, told.Max = at(0.5), at(0.99), at(1)
	}
	return tell(told)
}

// run keeps one connection busy, and opens another when its server sends it away.
func (w *worker) run() error {
	for first := true; first || time.Now().Before(w.until); first = false {
		if !first {
			w.reopened++
		}
		c, err := dial(w.plan)
		if err != nil {
			return err
		}
		c.onEnd = w.ended
		err = w.drive(c)
		_ = c.socket.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) drive(c *connection) error {
	_ = c.socket.SetReadDeadline(w.until.Add(20 * time.Second))
	for {
		if time.Now().Before(w.until) {
			for len(c.open) < w.plan.Streams && c.writable() {
				c.send(w.number)
				w.number++
			}
		}
		if len(c.open) == 0 && (c.goingAway || !time.Now().Before(w.until)) {
			return nil
		}
		if err := c.out.Flush(); err != nil {
			return err
		}
		for {
			if err := c.read(); err != nil {
				return err
			}
			if c.in.Buffered() == 0 {
				break
			}
		}
	}
}

func (w *worker) ended(one *answer) {
	now := time.Now()
	if one.status == "0" && one.messages != 1 {
		one.status = "no message"
	}
	if one.status != "0" {
		w.failed[one.status]++
		return
	}
	w.latencies = append(w.latencies, now.Sub(one.began))
	if now.Before(w.until) {
		w.calls++
	}
}

func processorTime() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
