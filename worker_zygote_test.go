package caddysnake

import (
	"context"
	"errors"
	"fmt"
	"go.uber.org/zap"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var noPackages = pythonEnvironment{Env: map[string]string{}, EnvFiles: []string{}}

// packages makes a directory of modules and returns an environment that finds them.
func packages(t *testing.T, sources map[string]string) pythonEnvironment {
	t.Helper()
	dir := t.TempDir()
	for name, source := range sources {
		if err := os.WriteFile(filepath.Join(dir, name+".py"), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pythonEnvironment{Env: map[string]string{"PYTHONPATH": dir}, EnvFiles: []string{}}
}

func raiseZygote(t *testing.T, e pythonEnvironment, modules ...string) *zygote {
	t.Helper()
	z, err := startZygote(e, modules)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(z.kill)
	return z
}

func awaitDead(t *testing.T, z *zygote) {
	t.Helper()
	select {
	case <-z.dead:
	case <-time.After(10 * time.Second):
		t.Fatal("the zygote lives on")
	}
}

func TestZygoteForksWorkersWithItsPackages(t *testing.T) {
	e := packages(t, map[string]string{"shared": "", "shadowed": "own = False"})
	z := raiseZygote(t, e, "shared", "missing", "shadowed")
	h := newWorkerHouse(t, noteApp+`
import os, sys, threading
preloaded = "shared" in sys.modules
import shadowed
facts = [
    preloaded, shadowed.own, os.getppid() == `+fmt.Sprint(z.process.pid)+`, os.getpgid(0) == os.getpid(),
    open("/proc/self/comm").read() == "python-worker\n", os.environ["COLOR"] == "green",
    threading.current_thread() is threading.main_thread(), os.getcwd() == os.path.dirname(os.path.abspath(__file__)),
]
open("facts", "w").write(str(facts))
print("a line")
`)
	if err := os.WriteFile(filepath.Join(h.dir, "shadowed.py"), []byte("own = True"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.spec.Load.Env, h.spec.Zygote = map[string]string{"COLOR": "green"}, z
	start := time.Now()
	w := h.start()
	t.Logf("ready after %v", time.Since(start))
	if facts := h.read("facts"); strings.Contains(facts, "False") {
		t.Error(facts)
	}
	h.find("a line")
	if !w.stop(time.Second, 0) || w.end.String() != "exit code 0" || h.read("notes") != "lifespan.startup\nlifespan.shutdown\n" {
		t.Error(w.idle, w.end)
	}
}

func TestZygoteSaysHowItsWorkersEnd(t *testing.T) {
	z := raiseZygote(t, noPackages)
	h := newWorkerHouse(t, "import os\nos._exit(9)")
	h.spec.Zygote = z
	if why := h.startFails(); why != "its worker has ended: exit code 9" {
		t.Error(why)
	}
	h = newWorkerHouse(t, wsgiHello)
	h.spec.Zygote = z
	w := h.start()
	w.signal(unix.SIGSEGV)
	if end := awaitEnd(t, w); end.String() != "signal 11 (segmentation fault)" {
		t.Error(end)
	}
}

func TestWorkersOutliveTheirZygoteAndLaterOnesStartFromScratch(t *testing.T) {
	z := raiseZygote(t, noPackages)
	h := newWorkerHouse(t, noteApp)
	h.spec.Zygote = z
	w := h.start()
	z.kill()
	awaitDead(t, z)
	later := h.start()
	h.find("python worker starts without its zygote")
	if !later.stop(time.Second, 0) || !w.stop(time.Second, 0) {
		t.Error("not idle")
	}
	if later.end.String() != "exit code 0" || w.end.known {
		t.Error(later.end, w.end)
	}
}

func TestZygoteAndItsWorkersEndWithCaddy(t *testing.T) {
	z := raiseZygote(t, noPackages)
	h := newWorkerHouse(t, wsgiHello)
	h.spec.Zygote = z
	w := h.start()
	z.control.close()
	w.control.close()
	awaitDead(t, z)
	if end := awaitEnd(t, w); end.known && end.String() != "exit code 0" {
		t.Error(end)
	}
}

func TestZygoteRefusesModulesThatStartThreads(t *testing.T) {
	e := packages(t, map[string]string{"telemetry": "import threading, time\n" +
		"threading.Thread(target=time.sleep, args=(100,), daemon=True).start()"})
	_, err := startZygote(e, []string{"json.tool", "telemetry"})
	var threads errThreads
	if !errors.As(err, &threads) || threads.module != "telemetry" {
		t.Error(err)
	}
}

// awaitZygote waits until workers are forked from a zygote.
func awaitZygote(t *testing.T, pool *zygotePool, e pythonEnvironment) *zygote {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if z := pool.get(e); z != nil {
			t.Cleanup(z.kill)
			return z
		}
	}
	t.Fatal("no zygote")
	return nil
}

func TestZygotesThatDieAreReplacedUntilTheirEnvironmentIsReleased(t *testing.T) {
	pool := newZygotePool()
	pool.hold(noPackages)
	pool.learn(noPackages, nil)
	for range 3 { // one at once, two after pauses
		z := awaitZygote(t, pool, noPackages)
		z.kill()
		awaitDead(t, z)
	}
	z := awaitZygote(t, pool, noPackages)
	n := pool.nursery(noPackages)
	if n.deaths != 3 {
		t.Error(n.deaths)
	}
	pool.release(noPackages)
	awaitDead(t, z)
	if n.raising || n.resting || n.zygote != nil {
		t.Error("another zygote, which nobody needs")
	}
}

func TestZygotesAreRaisedWithWhatWorkersNeed(t *testing.T) {
	e := packages(t, map[string]string{"shared": "", "telemetry": "import threading, time\n" +
		"threading.Thread(target=time.sleep, args=(100,), daemon=True).start()"})
	pool := newZygotePool()
	h := newWorkerHouse(t, wsgiHello)
	h.spec.Load.Env = e.Env
	e = environmentOf(h.spec.Load.bridgeConfig)
	start := func() *workerProcess {
		w, err := pool.start(context.Background(), h.spec)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	pool.learn(e, []string{"telemetry", "shared"})
	z := awaitZygote(t, pool, e)
	if modules, _ := pool.selected(pool.nurseries[keyOf(e)]); len(modules) != 1 || modules[0] != "shared" {
		t.Error(modules)
	}
	w := start()
	pool.forget()
	if pool.get(e) != nil || !z.alive() {
		t.Error("a retired zygote is used, or ends before its workers")
	}
	w.stop(time.Second, 0)
	awaitDead(t, z)
	if w.end.String() != "exit code 0" {
		t.Error(w.end)
	}
	start().stop(0, 0)
	pool.forget()
}

func TestZygoteIsNotBelieved(t *testing.T) {
	z := &zygote{log: &workerLog{label: zap.Skip()}, loaded: make(chan error, 1), forked: make(chan forkAnswer, 1), ends: make(map[int]chan processEnd)}
	for _, text := range []string{
		``, `7`, `{"op": "reboot"}`, `{"op": "forked", "pid": 7}`, `{"op": "forked", "pid": -7}`,
		`{"op": "died", "pid": 7, "status": 0}`, `{"op": "died", "pid": 7, "status": -1}`,
		`{"op": "preloaded", "folders": {"relative": 1}}`, `{"op": "preloaded", "folders": {"/a": "1"}}`,
		`{"op": "preloaded", "missing": ["a b"]}`, `{"op": "threads", "module": "a b"}`, `{"op": "log", "level": 1000, "source": "", "message": ""}`,
	} {
		if err := z.handle(packet{data: []byte(text)}); !errors.Is(err, errReport) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := z.handle(packet{data: []byte(`{"op": "preloaded"}`)}); err != nil {
		t.Error(err)
	}
	if err := z.handle(packet{data: []byte(`{"op": "preloaded"}`)}); !errors.Is(err, errReport) {
		t.Error(err)
	}
}

func TestWorkerRunsInItsVirtualEnvironment(t *testing.T) {
	python, err := exec.LookPath(strings.TrimSpace(os.Getenv("CADDYSNAKE_PYTHON")))
	if err != nil {
		t.Skip("CADDYSNAKE_PYTHON names the Python of the build")
	}
	venv := filepath.Join(t.TempDir(), "venv")
	if out, err := exec.Command(python, "-m", "venv", "--without-pip", venv).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	folders, err := filepath.Glob(filepath.Join(venv, "lib", "python*", "site-packages"))
	if err != nil || len(folders) != 1 {
		t.Fatal(folders, err)
	}
	extra := t.TempDir()
	for name, text := range map[string]string{
		filepath.Join(folders[0], "installed.py"): "",
		filepath.Join(folders[0], "extra.pth"):    extra + "\n",
		filepath.Join(extra, "editable.py"):       "",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := newWorkerHouse(t, wsgiHello+`
import editable, installed, subprocess, sys
child = [sys.executable, "-c", "import editable, sys; print(sys.prefix)"]
open("facts", "w").write(sys.prefix + " " + subprocess.run(child, capture_output=True, text=True).stdout)
`)
	h.spec.Load.Venv = venv
	e := environmentOf(h.spec.Load.bridgeConfig)
	for _, c := range []struct {
		zygote *zygote
		shows  []string
	}{
		{nil, []string{"installed"}},
		{raiseZygote(t, e), []string{"installed"}},
		{raiseZygote(t, e, "installed"), nil},
	} {
		h.spec.Zygote = c.zygote
		w := h.start()
		if facts := h.read("facts"); facts != venv+" "+venv+"\n" {
			t.Error(facts)
		}
		if !slices.Equal(w.modules, c.shows) {
			t.Error(w.modules)
		}
	}
}

func TestStopOfAContextEndsAStartingWorker(t *testing.T) {
	h := newWorkerHouse(t, "import time\ntime.sleep(100)")
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(200*time.Millisecond, func() { cancel(errAppStopped) })
	if _, err := startWorker(ctx, h.spec); !errors.Is(err, errAppStopped) {
		t.Error(err)
	}
}

func TestWorkersLeaveNothingBehindInCaddy(t *testing.T) {
	z := raiseZygote(t, noPackages)
	h := newWorkerHouse(t, wsgiHello)
	broken := newWorkerHouse(t, "1 / 0")
	broken.spec.Zygote = z
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	round := func() {
		for _, h.spec.Zygote = range []*zygote{nil, z} {
			h.start().stop(0, 0)
		}
		broken.startFails()
	}
	round()           // the bridge package is in memory from then on
	before := count() // some may be about to be closed
	round()
	round()
	for deadline := time.Now().Add(5 * time.Second); count() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors, before %d", count(), before)
		}
	}
}
