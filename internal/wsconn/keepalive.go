package wsconn

// Keepalive: pings, and the timeout of a silent client.

import (
	"time"

	"github.com/gobwas/ws"
)

// silence is the close reason for a client that timed out.
const silence = "keepalive ping timeout"

// StartPings starts pinging the client at intervals. The websocket is closed when
// the client sends nothing for an interval plus the timeout.
func (c *Conn) StartPings() {
	if c.ping != nil {
		c.ping.Reset(c.options.PingInterval)
	}
}

// Pause tells that ReadMessage will not be called for a while. During a pause the
// client does not count as silent, because its data is not read.
func (c *Conn) Pause() { c.paused.Store(true) }

// Resume ends a pause.
func (c *Conn) Resume() {
	c.hear()
	c.paused.Store(false)
}

// hear records that the client is alive.
func (c *Conn) hear() { c.received.Store(time.Now().UnixNano()) }

// payloadReader reads a message. Each part shows that the client is alive: in the
// middle of a frame, which may take long, the client can't answer a ping.
type payloadReader struct{ c *Conn }

func (r payloadReader) Read(p []byte) (int, error) {
	n, err := r.c.frames.Read(p)
	if n > 0 {
		r.c.hear()
	}
	return n, err
}

// checkAlive is the timer's function.
func (c *Conn) checkAlive() {
	if c.over.Load() {
		return
	}
	interval, timeout := c.options.PingInterval, c.options.PingTimeout
	paused := c.paused.Load() // load before received, because Resume sets received first
	silent := time.Since(time.Unix(0, c.received.Load()))
	if silent >= interval+timeout && !paused {
		c.ended(ws.StatusInternalServerError, silence)
		c.Close(uint16(ws.StatusInternalServerError), silence)
		c.CloseNow()
		return
	}
	next := interval
	if !paused {
		next = min(interval, interval+timeout-silent)
	}
	c.ping.Reset(max(next, 10*time.Millisecond))
	if c.writing.TryLock() { // if locked, a write in progress detects a dead client too
		_ = c.conn.SetWriteDeadline(time.Now().Add(timeout))
		err := ws.WriteFrame(c.conn, ws.NewPingFrame(nil))
		_ = c.conn.SetWriteDeadline(time.Time{})
		c.writing.Unlock()
		if err != nil {
			c.CloseNow()
		}
	}
}
