package wsconn

import (
	"bufio"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
)

const interval, timeout = 20 * time.Second, 30 * time.Second

// pinged runs a test of a websocket with pings, on a synthetic clock. It calls on
// for each frame sent to the client.
func pinged(t *testing.T, test func(t *testing.T, c *Conn, client net.Conn, ended <-chan ending), on func(client net.Conn, frame ws.Frame)) {
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		ended := make(chan ending, 10)
		c := newConn(server, bufio.NewReader(server), false, Options{
			MaxSize: maxSize, PingInterval: interval, PingTimeout: timeout,
			Ended: func(code uint16, reason string) { ended <- ending{code, reason} },
		})
		go func() {
			for {
				frame, err := readFrame(client)
				if err != nil {
					return
				}
				on(client, frame)
			}
		}()
		c.StartPings()
		test(t, c, client, ended)
		c.CloseNow()
		_ = client.Close()
	})
}

// read reads until the websocket has ended.
func read(c *Conn) {
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			return
		}
	}
}

func ignore(net.Conn, ws.Frame) {}

// alive fails the test if the websocket has ended.
func alive(t *testing.T, when string, ended <-chan ending) {
	t.Helper()
	select {
	case e := <-ended:
		t.Errorf("%s: it has ended with %v", when, e)
	default:
	}
}

func TestASilentClientIsGivenUp(t *testing.T) {
	var closed ws.Frame
	pinged(t, func(t *testing.T, c *Conn, client net.Conn, ended <-chan ending) {
		start := time.Now()
		read(c)
		if after := time.Since(start); after != interval+timeout {
			t.Errorf("it took %s", after)
		}
		if e := <-ended; e != (ending{1011, "keepalive ping timeout"}) {
			t.Errorf("the end is %v", e)
		}
		synctest.Wait()
		if code, _ := ws.ParseCloseFrameData(closed.Payload); code != 1011 {
			t.Errorf("the client was told %d", code)
		}
	}, func(_ net.Conn, frame ws.Frame) { closed = frame })
}

func TestAClientThatAnswersStays(t *testing.T) {
	pings := 0
	pinged(t, func(t *testing.T, c *Conn, client net.Conn, ended <-chan ending) {
		go read(c)
		time.Sleep(10*interval + time.Second)
		synctest.Wait()
		alive(t, "with pongs", ended)
		if pings != 10 {
			t.Errorf("%d pings in 10 intervals", pings)
		}
	}, func(client net.Conn, frame ws.Frame) {
		if frame.Header.OpCode == ws.OpPing {
			pings++
			_, _ = client.Write(masked(ws.NewPongFrame(frame.Payload)))
		}
	})
}

func TestAClientThatSendsAFrameSlowlyStays(t *testing.T) {
	pinged(t, func(t *testing.T, c *Conn, client net.Conn, ended <-chan ending) {
		message := make(chan int)
		go func() {
			_, payload, _ := c.ReadMessage()
			message <- len(payload)
		}()
		frame := masked(ws.NewBinaryFrame(make([]byte, 100)))
		for head := ws.HeaderSize(ws.Header{Masked: true}); len(frame) > 0; head = 1 {
			if _, err := client.Write(frame[:head]); err != nil {
				t.Error(err)
				break
			}
			frame = frame[head:]
			time.Sleep(interval)
		}
		alive(t, "within a frame", ended)
		if n := <-message; n != 100 {
			t.Errorf("it has read %d bytes", n)
		}
	}, ignore)
}

func TestAClientIsNotSilentDuringAPause(t *testing.T) {
	pinged(t, func(t *testing.T, c *Conn, client net.Conn, ended <-chan ending) {
		c.Pause()
		time.Sleep(time.Hour)
		alive(t, "in the pause", ended)
		c.Resume()
		start := time.Now()
		time.Sleep(interval + timeout - time.Second)
		alive(t, "after the pause", ended)
		<-ended
		if after := time.Since(start); after > 2*interval+timeout {
			t.Errorf("then it took %s", after)
		}
	}, ignore)
}

func TestPingsEndWithTheWebsocket(t *testing.T) {
	for name, end := range map[string]func(c *Conn){
		"a close":               func(c *Conn) { c.Close(1000, "") },
		"a close of the client": func(c *Conn) { read(c) },
	} {
		var frames []ws.OpCode
		pinged(t, func(t *testing.T, c *Conn, client net.Conn, ended <-chan ending) {
			go func() { _, _ = client.Write(masked(closeFrame(1000, ""))) }()
			end(c)
			time.Sleep(time.Hour)
			synctest.Wait()
			if len(frames) != 1 || frames[0] != ws.OpClose {
				t.Errorf("after %s: the client was sent %v", name, frames)
			}
			if len(ended) > 1 {
				t.Errorf("after %s: it has ended twice", name)
			}
		}, func(_ net.Conn, frame ws.Frame) { frames = append(frames, frame.Header.OpCode) })
	}
}
