package wsconn

// Keepalive: pings, and giving up a client that is silent.

import (
	"time"

	"github.com/gobwas/ws"
)

// silence is why a client is given up.
const silence = "keepalive ping timeout"

// StartPings pings the client in intervals, and gives it up when nothing comes from
// it for an interval and the timeout.
func (c *Conn) StartPings() {
	if c.ping != nil {
		c.ping.Reset(c.options.PingInterval)
	}
}

// Pause says that ReadMessage will not be called for a while. A client is not
// silent while nobody reads what it sends.
func (c *Conn) Pause() { c.paused.Store(true) }

// Resume ends a pause.
func (c *Conn) Resume() {
	c.hear()
	c.paused.Store(false)
}

// hear notes that the client is alive.
func (c *Conn) hear() { c.received.Store(time.Now().UnixNano()) }

// payloadReader reads a message. Each part shows that the client is alive: in the
// middle of a frame, which may take long to send, it can't answer a ping.
type payloadReader struct{ c *Conn }

func (r payloadReader) Read(p []byte) (int, error) {
	n, err := r.c.frames.Read(p)
	if n > 0 {
		r.c.hear()
	}
	return n, err
}

// checkAlive is what the timer calls.
func (c *Conn) checkAlive() {
	if c.over.Load() {
		return
	}
	interval, timeout := c.options.PingInterval, c.options.PingTimeout
	paused := c.paused.Load() // before received, which Resume sets first
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
	if c.writing.TryLock() { // a message on its way serves as well
		_ = c.conn.SetWriteDeadline(time.Now().Add(timeout))
		err := ws.WriteFrame(c.conn, ws.NewPingFrame(nil))
		_ = c.conn.SetWriteDeadline(time.Time{})
		c.writing.Unlock()
		if err != nil {
			c.CloseNow()
		}
	}
}
