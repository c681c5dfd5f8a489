// The load on gRPC servers: HTTP/2 frames on plain sockets, so that it costs little of the cores it
// shares with what it measures. Started by bench/rpc_load.py with a plan as one line of JSON on
// stdin. "calls" is a closed loop of unary calls, "follow" opens streams and notes what comes.
// Header fields are compressed as by any client, the token as a literal that is never indexed (RFC
// 7541, section 7.1.3). An answer counts when its grpc-status is 0 and its message is complete.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// A plan says what to send. Messages and tokens are sent in turn.
type plan struct {
	Mode        string   `json:"mode"` // "calls" or "follow"
	Address     string   `json:"address"`
	Path        string   `json:"path"`
	Connections int      `json:"connections"`
	Streams     int      `json:"streams"` // at once on each connection
	Seconds     float64  `json:"seconds"`
	Messages    [][]byte `json:"messages"`
	Tokens      []string `json:"tokens"`
}

func main() {
	commands := bufio.NewReaderSize(os.Stdin, 1<<20)
	line, err := commands.ReadBytes('\n')
	if err != nil {
		fail(err)
	}
	var p plan
	if err := json.Unmarshal(line, &p); err != nil {
		fail(err)
	}
	if p.Mode == "follow" {
		err = follow(&p, commands)
	} else {
		err = calls(&p)
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "rpcload:", err)
	os.Exit(1)
}

func tell(value any) error {
	return json.NewEncoder(os.Stdout).Encode(value)
}
