package caddysnake

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// workerHouse is where a test's workers live: the test binary becomes a worker, too.
type workerHouse struct {
	t    *testing.T
	dir  string
	logs *observer.ObservedLogs
	spec workerSpec
}

// newWorkerHouse makes a directory with main.py.
func newWorkerHouse(t *testing.T, source string) *workerHouse {
	t.Helper()
	zapCore, logs := observer.New(zap.DebugLevel)
	h := &workerHouse{t: t, dir: t.TempDir(), logs: logs}
	if err := os.WriteFile(filepath.Join(h.dir, "main.py"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	app := &appLog{app: "main:app"}
	app.logger.Store(zap.New(zapCore))
	h.spec = workerSpec{Number: 1, Timeout: 20 * time.Second, Log: app, Load: loadRequest{1, bridgeConfig{
		Module: "main:app", WorkingDir: h.dir, PythonPath: []string{}, Env: map[string]string{},
		EnvFiles: []string{}, Isolate: []string{}, Threads: 4, Lifespan: "auto", Loop: "asyncio",
	}}}
	home, err := newWorkerHome()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(home.close)
	h.spec.Files = home.descriptors()
	return h
}

// start returns a ready worker, which ends with the test.
func (h *workerHouse) start() *workerProcess {
	h.t.Helper()
	w, err := startWorker(context.Background(), h.spec)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { w.kill(); <-w.died })
	return w
}

// startFails returns why a worker does not become ready.
func (h *workerHouse) startFails() string {
	h.t.Helper()
	w, err := startWorker(context.Background(), h.spec)
	if err == nil {
		w.kill()
		h.t.Fatal("the worker is ready")
	}
	return err.Error()
}

// read returns what the app has written to a file of its directory.
func (h *workerHouse) read(name string) string {
	h.t.Helper()
	content, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(content)
}

// find returns the record with this message, and waits for it.
func (h *workerHouse) find(message string) observer.LoggedEntry {
	h.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if found := h.logs.FilterMessage(message).All(); len(found) > 0 {
			return found[0]
		}
	}
	h.t.Fatalf("no record %q in %v", message, h.logs.All())
	return observer.LoggedEntry{}
}

func (h *workerHouse) expect(message string, level zapcore.Level, field, value string) {
	h.t.Helper()
	record := h.find(message)
	fields := record.ContextMap()
	if record.Level != level || fields[field] != value || fields["app"] != "main:app" || fields["worker"] != int64(1) {
		h.t.Errorf("%q: %v %v", message, record.Level, fields)
	}
}

func awaitEnd(t *testing.T, w *workerProcess) processEnd {
	t.Helper()
	select {
	case <-w.died:
		return w.end
	case <-time.After(10 * time.Second):
		t.Fatal("the worker lives on")
		return processEnd{}
	}
}

const wsgiHello = `
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]
`

// noteApp is an ASGI app that notes its lifespan.
const noteApp = `
def note(text):
    with open("notes", "a") as file:
        file.write(text + "\n")

async def app(scope, receive, send):
    while True:
        message = await receive()
        note(message["type"])
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
`

func TestWorkerServesWSGIOnThePlainMainThreadOfAPlainPython(t *testing.T) {
	h := newWorkerHouse(t, wsgiHello+`
import _thread, atexit, json, os, signal, sys, threading, time
atexit.register(lambda: open("exit", "w").write("bye"))
json.dump({
    "cwd": os.getcwd() == os.path.dirname(os.path.abspath(__file__)),
    "path": sys.path[0] == os.getcwd(),
    "main_thread": threading.current_thread() is threading.main_thread(),
    "signal": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    "environ": os.environ["COLOR"] == "green" and os.popen("echo $COLOR").read() == "green\n",
    "zone": time.tzname[0] == "XYZ",
    "group": os.getpgid(0) == os.getpid() and os.getsid(0) != os.getpid(),
    "stdout": sys.stdout.fileno() == 1 and sys.stdout.line_buffering,
    "local": threading.local is _thread._local and _thread._local.__module__ == "_thread",
    "hidden": "caddysnake_py" not in sys.modules and "_caddysnake" not in sys.modules,
    "variables": not [name for name in os.environ if name.startswith("CADDYSNAKE_WORKER")],
    "argv": sys.argv == [os.path.join(os.getcwd(), "__main__.py")],
    "python": os.path.basename(sys.executable).startswith("python"),
}, open("facts", "w"))
`)
	h.spec.Load.Env = map[string]string{"COLOR": "green", "TZ": "XYZ-3"}
	w := h.start()
	if w.kind != "wsgi" {
		t.Error(w.kind)
	}
	if facts := h.read("facts"); strings.Contains(facts, "false") {
		t.Error(facts)
	}
	if !w.stop(time.Second, 0) || w.end.String() != "exit code 0" {
		t.Error(w.idle, w.end)
	}
	if h.read("exit") != "bye" {
		t.Error("atexit")
	}
}

func TestWorkerRunsTheLifespanOnEachLoop(t *testing.T) {
	for _, loop := range []string{"asyncio", "auto"} {
		t.Run(loop, func(t *testing.T) {
			h := newWorkerHouse(t, noteApp+`
import asyncio, threading
asyncio.get_running_loop()
assert threading.current_thread() is threading.main_thread()
threading.Thread(target=lambda: (__import__("time").sleep(0.1), note("thread"))).start()
`)
			h.spec.Load.Loop = loop
			w := h.start()
			if w.kind != "asgi" || h.read("notes") != "lifespan.startup\n" {
				t.Error(w.kind, h.read("notes"))
			}
			idle := w.stop(time.Second, 0)
			if notes := h.read("notes"); !idle || w.end.String() != "exit code 0" ||
				!strings.Contains(notes, "lifespan.shutdown\n") || !strings.Contains(notes, "thread\n") {
				t.Error(idle, w.end, notes)
			}
		})
	}
}

func TestWorkerSaysWhyItsAppCannotBeLoaded(t *testing.T) {
	for _, c := range []struct{ name, source, want string }{
		{"import", "def f():\n    1 / 0\nf()", "line 3, in <module>\n    f()"},
		{"import", "1 / 0", "ZeroDivisionError: division by zero"},
		{"attribute", "x = 1", "main:app: there is no 'app' in "},
		{"exit", "raise SystemExit('planted')", "SystemExit: planted"},
		{"startup", "async def app(scope, receive, send):\n    await receive()\n" +
			"    await send({'type': 'lifespan.startup.failed', 'message': 'planted'})",
			"the app's startup failed: planted"},
		{"gone", "import os, sys\nprint('last words')\nos._exit(3)",
			"its worker has ended: exit code 3; its last output:\nlast words"},
		{"crash", "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
			"its worker has ended: signal 11 (segmentation fault)"},
		{"long", "raise ValueError('x' * 1000000)", "bytes are left out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newWorkerHouse(t, c.source)
			if why := h.startFails(); !strings.Contains(why, c.want) || strings.Contains(why, "caddysnake_py") {
				t.Errorf("%.2000s", why)
			}
		})
	}
}

func TestWorkerSaysWhatIsWrongWithItsConfiguration(t *testing.T) {
	h := newWorkerHouse(t, wsgiHello)
	h.spec.Load.Venv = h.dir
	if why := h.startFails(); !strings.HasPrefix(why, "venv "+h.dir+": not a virtual environment") {
		t.Error(why)
	}
	h.spec.Load.Venv, h.spec.Load.WorkingDir = "", filepath.Join(h.dir, "missing")
	if why := h.startFails(); why != "working_dir "+h.spec.Load.WorkingDir+": no such directory" {
		t.Error(why)
	}
	h.spec.Load.WorkingDir, h.spec.Load.EnvFiles = h.dir, []string{"/nowhere/env"}
	if why := h.startFails(); why != "env_file /nowhere/env: No such file or directory" {
		t.Error(why)
	}
}

func TestWorkerWritesToTheLog(t *testing.T) {
	h := newWorkerHouse(t, wsgiHello+`
import logging, os, sys, traceback
print("a line"); print("a problem", file=sys.stderr)
os.write(1, b"of C\n")
logging.getLogger("shop").warning("low stock")
logging.basicConfig(level=logging.DEBUG)
logging.getLogger("shop.db").info("query\n{}")
try:
    1 / 0
except ZeroDivisionError:
    traceback.print_exc()
logging.getLogger("long").info("y" * 200000)
print("escape \x1b[0m")
`)
	h.start()
	h.expect("a line", zap.InfoLevel, "stream", "stdout")
	h.expect("a problem", zap.ErrorLevel, "stream", "stderr")
	h.expect("of C", zap.InfoLevel, "stream", "stdout")
	h.expect("low stock", zap.WarnLevel, "python_logger", "shop")
	h.expect("INFO:shop.db:query\n    {}", zap.InfoLevel, "python_logger", "shop.db")
	h.expect(`escape \x1b[0m`, zap.InfoLevel, "stream", "stdout")
	traceback := h.logs.Filter(func(e observer.LoggedEntry) bool {
		return strings.HasPrefix(e.Message, "Traceback (most") && strings.HasSuffix(e.Message, "ZeroDivisionError: division by zero")
	})
	long := h.logs.Filter(func(e observer.LoggedEntry) bool {
		return strings.HasPrefix(e.Message, "INFO:long:yyy") && strings.Contains(e.Message, "bytes are left out")
	})
	if traceback.Len() != 1 || long.Len() != 1 {
		t.Error(h.logs.All())
	}
}

func TestWorkerThatDiesIsReportedWithItsLastOutput(t *testing.T) {
	for _, c := range []struct{ how, want string }{
		{"os._exit(9)", "exit code 9"},
		{"os.kill(os.getpid(), 11)", "signal 11 (segmentation fault)"},
	} {
		h := newWorkerHouse(t, wsgiHello+`
import os, threading, time
def later():
    while not os.path.exists("now"):
        time.sleep(0.001)
    print("last words")
    `+c.how+`
threading.Thread(target=later, daemon=True).start()
`)
		w := h.start()
		if err := os.WriteFile(filepath.Join(h.dir, "now"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if end := awaitEnd(t, w); end.String() != c.want {
			t.Error(end)
		}
		fields := h.find("python worker has ended unexpectedly").ContextMap()
		if fields["end"] != c.want || fields["last_output"] != "last words" {
			t.Error(fields)
		}
	}
}

func TestWorkerEndsOnSIGINTAsPythonProgramsDo(t *testing.T) {
	for _, source := range []string{wsgiHello, noteApp} {
		h := newWorkerHouse(t, source)
		w := h.start()
		w.signal(unix.SIGINT)
		if end := awaitEnd(t, w); end.String() != "exit code 130" {
			t.Error(end)
		}
	}
}

func TestWorkerOfAFailedAppDoesNotWaitForItsThreadsForever(t *testing.T) {
	t.Parallel()
	h := newWorkerHouse(t, "import threading, time\nthreading.Thread(target=time.sleep, args=(100,)).start()\n1 / 0")
	if why := h.startFails(); !strings.HasSuffix(why, "ZeroDivisionError: division by zero") {
		t.Error(why)
	}
}

func TestWorkerThatHangsAtStartIsKilled(t *testing.T) {
	h := newWorkerHouse(t, "import time\ntime.sleep(100)")
	h.spec.Timeout = 500 * time.Millisecond
	if why := h.startFails(); why != "it has not started within 500ms (start_timeout)" {
		t.Error(why)
	}
}

func TestWorkerThatDoesNotShutDownIsTerminated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ handler, want string }{
		{"SIG_DFL", "signal 15 (terminated)"},
		{"SIG_IGN", "signal 9 (killed)"},
	} {
		t.Run(c.handler, func(t *testing.T) {
			t.Parallel()
			h := newWorkerHouse(t, "import signal, time\nsignal.signal(signal.SIGTERM, signal."+c.handler+")\n"+
				strings.Replace(noteApp, `note(message["type"])`,
					`note(message["type"]); message["type"] == "lifespan.shutdown" and time.sleep(100)`, 1))
			w := h.start()
			patience, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if w.stopWithin(patience, 0, 0) || w.end.String() != c.want {
				t.Error(w.idle, w.end)
			}
		})
	}
}

func TestWorkerEndsInOrderWhenCaddyIsGone(t *testing.T) {
	h := newWorkerHouse(t, noteApp+"import atexit; atexit.register(note, 'atexit')")
	w := h.start()
	w.control.close() // as the kernel does
	if end := awaitEnd(t, w); end.String() != "exit code 0" {
		t.Error(end)
	}
	if notes := h.read("notes"); notes != "lifespan.startup\nlifespan.shutdown\natexit\n" {
		t.Error(notes)
	}
}

func TestWorkerGetsTheDescriptorsOfItsCore(t *testing.T) {
	h := newWorkerHouse(t, wsgiHello+`
import os
links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
open("links", "w").write(" ".join(links))
`)
	h.spec.Load.Interface = "wsgi"
	h.start()
	if links := h.read("links"); strings.Count(links, "eventfd") != 2 {
		t.Error(links)
	}
}

func TestWorkerThatIsStuckEndsWithCaddyToo(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("5 s")
	}
	h := newWorkerHouse(t, "import re, threading\n"+wsgiHello+
		"threading.Thread(target=lambda: re.match('(a*)*b', 'a' * 50), daemon=True).start()\n"+
		"import time; time.sleep(0.2)\n")
	h.spec.Load.Interface = "wsgi"
	h.spec.Timeout = 300 * time.Millisecond
	w, err := launchWorker(h.spec)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	w.control.close()
	if end := awaitEnd(t, w); end.String() != "exit code 1" {
		t.Error(end)
	}
}

func TestWorkerThatBreaksTheProtocolIsKilled(t *testing.T) {
	h := newWorkerHouse(t, wsgiHello+`
import os, socket, stat
for fd in range(3, 64):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            socket.socket(fileno=os.dup(fd)).send(b'{"op": "stopped", "idle": true}')
    except OSError:
        pass
`)
	if why := h.startFails(); !strings.Contains(why, "at the wrong time") {
		t.Error(why)
	}
	h.find("python worker is killed")
}

func TestWorkerRefusesAForeignSocket(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"3", "its peer is not the parent process"},
		{"1", "not a SEQPACKET socket"},
		{"77", "bad file descriptor"},
		{"3x", "not a number"},
	} {
		_, theirs, err := newControlSocket()
		if err != nil {
			t.Fatal(err)
		}
		// The shell, not this process, is the parent.
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/bin/sh", "-c", exe+"; exit $?")
		cmd.Env = append(os.Environ(), "CADDYSNAKE_WORKER="+c.value)
		cmd.ExtraFiles = []*os.File{theirs}
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != 64 || !strings.Contains(strings.ToLower(string(out)), strings.ToLower(c.want)) {
			t.Errorf("%s: %v %s", c.value, err, out)
		}
		theirs.Close()
	}
}

func TestParseReportBelievesNothing(t *testing.T) {
	for _, text := range []string{
		``, `null`, `[]`, `7`, `{"op": 1}`, `{"op": "reboot"}`, `{}`,
		`{"op": "ready", "interface": "cgi", "pid": 1, "modules": []}`,
		`{"op": "ready", "interface": "wsgi", "pid": "1", "modules": []}`,
		`{"op": "ready", "interface": "wsgi", "pid": 1, "modules": ["os; rm"]}`,
		`{"op": "ready", "interface": "wsgi", "pid": 1, "modules": ["` + strings.Repeat("a", 300) + `"]}`,
		`{"op": "failed"}`, `{"op": "failed", "error": ["x"]}`,
		`{"op": "log", "level": 1e9, "source": "x", "message": "y"}`,
		`{"op": "log", "level": -1, "source": "x", "message": "y"}`,
		`{"op": "log", "level": 20, "source": "` + strings.Repeat("x", 300) + `", "message": "y"}`,
		`{"op": "log", "level": 20, "source": "x", "message": "y", "app": 3}`,
		`{"op": "stopped", "idle": "yes"}`,
	} {
		if report, err := parseReport(packet{data: []byte(text)}); !errors.Is(err, errReport) {
			t.Errorf("%.80s: %v %v", text, report, err)
		}
	}
	file, err := newMemoryFile("test", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := parseReport(packet{[]byte(`{"op": "stopped", "idle": true}`), []int{int(file.Fd())}}); !errors.Is(err, errReport) {
		t.Error("descriptors are accepted")
	}
}

func TestLinesOfAStreamBecomeMessages(t *testing.T) {
	var got []string
	l := lineSplitter{emit: func(m string) { got = append(got, m) }}
	for _, piece := range []string{"a\nb", "c\r\n\n", "Traceback (most recent call last):\n  File\n\n", "    x\nError: y\nlast", ""} {
		l.write([]byte(piece))
	}
	l.close()
	want := []string{"a", "bc", "Traceback (most recent call last):\n  File\n\n    x\nError: y", "last"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q", got)
	}
	got = nil
	l.write(make([]byte, maxLine+1))
	l.close()
	if len(got) != 2 || len(got[0]) != maxLine {
		t.Error(len(got))
	}
}

// A worker that answers what nobody has asked is killed; one that is late is not.
func TestStacksAreAnAnswer(t *testing.T) {
	var q question[[]stackReport]
	if q.take(0, nil) || q.take(1, nil) {
		t.Error("an answer without a question")
	}
	q.number, q.answer = 2, make(chan []stackReport, 1)
	for _, answer := range []uint32{1, 2, 2} {
		if !q.take(answer, []stackReport{{Slot: int64(answer)}}) {
			t.Errorf("answer %d is refused", answer)
		}
	}
	if got := <-q.answer; got[0].Slot != 2 || len(q.answer) != 0 {
		t.Errorf("got %v", got)
	}
	if q.take(3, nil) {
		t.Error("an answer to a later question")
	}
}

func TestASignalToAProcessThatHasEndedIsNoError(t *testing.T) {
	child := exec.Command("true")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(child.Process.Pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	pidfd, err := newPidfd(fd)
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := signalPidfd(pidfd, unix.SIGTERM); err != nil {
		t.Error(err)
	}
	pidfd.Close()
	if err := signalPidfd(pidfd, unix.SIGTERM); err != nil {
		t.Error("after its pidfd was closed:", err)
	}
}
