package main

import (
	"bufio"
	"strings"
	"sync"
	"time"
)

// A delivery is a message that came on a stream, and when by the wall clock, in nanoseconds.
type delivery struct {
	Stream  int    `json:"stream"`
	At      int64  `json:"at"`
	Message []byte `json:"message"`
}

type audience struct {
	mu        sync.Mutex
	heard     []delivery
	listening map[int]bool
	ended     map[string]int
}

// follow opens all streams and answers commands: "count" says how many messages have come and how
// many streams have had one, "end" gives all messages and ends.
func follow(p *plan, commands *bufio.Reader) error {
	a := &audience{listening: map[int]bool{}, ended: map[string]int{}}
	for i := range p.Connections {
		c, err := dial(p)
		if err != nil {
			return err
		}
		c.onMessage, c.onEnd = a.take, a.end
		for number := i; number < p.Streams*p.Connections; number += p.Connections {
			c.send(number)
		}
		if err := c.out.Flush(); err != nil {
			return err
		}
		go a.listen(c)
	}
	for {
		command, err := commands.ReadString('\n')
		if err != nil {
			return err
		}
		a.mu.Lock()
		if strings.TrimSpace(command) == "end" {
			return tell(a.heard)
		}
		err = tell(map[string]any{"heard": len(a.heard), "listening": len(a.listening), "ended": a.ended})
		a.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

func (a *audience) listen(c *connection) {
	for {
		err := c.read()
		if err == nil && c.in.Buffered() == 0 {
			err = c.out.Flush()
		}
		if err != nil {
			a.mu.Lock()
			a.ended["connection: "+err.Error()]++
			a.mu.Unlock()
			return
		}
	}
}

func (a *audience) take(one *answer, message []byte) {
	at := time.Now().UnixNano()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listening[one.number] = true
	a.heard = append(a.heard, delivery{one.number, at, append([]byte(nil), message...)})
}

func (a *audience) end(one *answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended[one.status]++
}
