package wsconn

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gobwas/ws"
)

// The key comes from RFC 6455, section 1.3.
const handshake = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"

// upgraded returns the answer to a handshake and to the frame after it, which the
// websocket echoes.
func upgraded(t *testing.T, options Options, further http.Header, frame ws.Frame) (http.Header, ws.Frame) {
	t.Helper()
	options.Ended = func(code uint16, reason string) { t.Errorf("the end is %d %q", code, reason) }
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Handler", "another's")
		c, err := Upgrade(rw, r, further, options)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		kind, message, err := c.ReadMessage()
		if err != nil {
			t.Error(err)
			return
		}
		if err := c.WriteMessage(kind, message); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	client, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write(append([]byte(handshake), masked(frame)...)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(client)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the status is %s", answer.Status)
	}
	echo, err := readFrame(in)
	if err != nil {
		t.Fatal(err)
	}
	return answer.Header, echo
}

func TestAHandshakeIsAnswered(t *testing.T) {
	further := http.Header{
		"Sec-Websocket-Protocol": {"chat"}, "X-Two": {"1", "2"},
		"Sec-Websocket-Accept": {"forged"}, "Sec-Websocket-Extensions": {"forged"}, "Upgrade": {"forged"},
	}
	header, echo := upgraded(t, Options{MaxSize: maxSize}, further, ws.NewTextFrame([]byte("at once")))
	for name, want := range map[string]string{
		"Sec-Websocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Upgrade": "websocket", "Connection": "Upgrade",
		"Sec-Websocket-Extensions": "", "Sec-Websocket-Protocol": "chat", "X-Two": "1", "X-Handler": "another's",
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	if len(header["X-Two"]) != 2 {
		t.Errorf("X-Two is %q", header["X-Two"])
	}
	if string(echo.Payload) != "at once" {
		t.Errorf("the echo is %q", echo.Payload)
	}
}

func TestCompressionIsNegotiated(t *testing.T) {
	header, echo := upgraded(t, Options{MaxSize: maxSize, Compression: true}, http.Header{}, compressed(t, "hello"))
	if header.Get("Sec-Websocket-Extensions") == "" {
		t.Error("it was declined")
	}
	if string(echo.Payload) != "hello" {
		t.Errorf("the echo is %q", echo.Payload)
	}
}

func TestAConnectionThatIsNotToBeHadIsAnError(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if c, err := Upgrade(httptest.NewRecorder(), r, http.Header{}, Options{}); err == nil {
		t.Errorf("there is a websocket: %v", c)
	}
}
