package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	window     = 1 << 30
	replenish  = 1 << 24
	prefix     = 5 // of a message: compressed or not, and its length
	lastStream = 1<<31 - 1
)

// An answer is what a stream has received so far.
type answer struct {
	began    time.Time
	number   int // the stream's place among all
	data     []byte
	messages int
	status   string
}

// A connection has streams and one goroutine; it reads what has come, then writes all at once.
type connection struct {
	socket    net.Conn
	in        *bufio.Reader
	out       *bufio.Writer
	framer    *http2.Framer
	block     bytes.Buffer
	fields    *hpack.Encoder
	plan      *plan
	open      map[uint32]*answer
	next      uint32
	sendable  int64 // what the peer takes on this connection
	received  uint32
	goingAway bool
	onMessage func(*answer, []byte)
	onEnd     func(*answer)
}

func dial(p *plan) (*connection, error) {
	socket, err := net.DialTimeout("tcp", p.Address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	c := &connection{socket: socket, in: bufio.NewReaderSize(socket, 1<<16),
		out: bufio.NewWriterSize(socket, 1<<16), plan: p, open: map[uint32]*answer{}, next: 1,
		sendable: 65535}
	c.framer = http2.NewFramer(c.out, c.in)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.SetReuseFrames()
	c.fields = hpack.NewEncoder(&c.block)
	_, _ = c.out.WriteString(http2.ClientPreface)
	_ = c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: window},
	)
	_ = c.framer.WriteWindowUpdate(0, window)
	return c, c.out.Flush()
}

// send begins a call; number says which message and token.
func (c *connection) send(number int) {
	p := c.plan
	c.block.Reset()
	for _, field := range [...]hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: p.Path},
		{Name: ":authority", Value: p.Address},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "user-agent", Value: "rpcload"},
		{Name: "te", Value: "trailers"},
		{Name: "authorization", Value: "Bearer " + p.Tokens[number%len(p.Tokens)], Sensitive: true},
	} {
		_ = c.fields.WriteField(field)
	}
	message := p.Messages[number%len(p.Messages)]
	body := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	body = append(body, message...)
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.next,
		BlockFragment: c.block.Bytes(), EndHeaders: true})
	_ = c.framer.WriteData(c.next, true, body)
	c.sendable -= int64(len(body))
	c.open[c.next] = &answer{began: time.Now(), number: number}
	c.next += 2
}

// writable says whether a call may begin: the peer takes more, and goes on.
func (c *connection) writable() bool {
	return !c.goingAway && c.sendable > 1<<12 && c.next < lastStream-2
}

// read takes one frame.
func (c *connection) read() error {
	frame, err := c.framer.ReadFrame()
	if err != nil {
		return err
	}
	switch frame := frame.(type) {
	case *http2.DataFrame:
		c.account(frame.Length)
		if one := c.open[frame.StreamID]; one != nil {
			c.take(one, frame.Data())
			if frame.StreamEnded() {
				c.end(frame.StreamID, "no trailers")
			}
		}
	case *http2.MetaHeadersFrame:
		for _, field := range frame.Fields {
			if one := c.open[frame.StreamID]; one != nil && field.Name == "grpc-status" {
				one.status = field.Value
			}
		}
		if frame.StreamEnded() {
			c.end(frame.StreamID, "no status")
		}
	case *http2.RSTStreamFrame:
		c.end(frame.StreamID, "reset: "+frame.ErrCode.String())
	case *http2.WindowUpdateFrame:
		if frame.StreamID == 0 {
			c.sendable += int64(frame.Increment)
		}
	case *http2.SettingsFrame:
		if !frame.IsAck() {
			if size, ok := frame.Value(http2.SettingHeaderTableSize); ok {
				c.fields.SetMaxDynamicTableSizeLimit(size)
			}
			return c.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !frame.IsAck() {
			return c.framer.WritePing(true, frame.Data)
		}
	case *http2.GoAwayFrame:
		c.goingAway = true
		if frame.ErrCode != http2.ErrCodeNo {
			return errors.New("GOAWAY " + frame.ErrCode.String())
		}
		for id := range c.open {
			if id > frame.LastStreamID { // the server has not seen it: it may be sent again
				delete(c.open, id)
			}
		}
	}
	return nil
}

func (c *connection) account(length uint32) {
	c.received += length
	if c.received >= replenish {
		_ = c.framer.WriteWindowUpdate(0, c.received)
		c.received = 0
	}
}

// take finds the messages in what came.
func (c *connection) take(one *answer, data []byte) {
	one.data = append(one.data, data...)
	for len(one.data) >= prefix {
		end := prefix + int(binary.BigEndian.Uint32(one.data[1:]))
		if len(one.data) < end {
			return
		}
		one.messages++
		if c.onMessage != nil {
			c.onMessage(one, one.data[prefix:end])
		}
		one.data = one.data[:copy(one.data, one.data[end:])]
	}
}

func (c *connection) end(id uint32, otherwise string) {
	one := c.open[id]
	if one == nil {
		return
	}
	delete(c.open, id)
	if one.status == "" {
		one.status = otherwise
	}
	if one.status == "0" && len(one.data) > 0 {
		one.status = "incomplete message"
	}
	c.onEnd(one)
}
