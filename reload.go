package caddysnake

// Loading an app's code anew while it serves: the new generation starts next to
// the old one, takes its place, and the old one ends when its requests have.

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// patience is how long what runs on a generation that is to end may go on.
type patience struct {
	WebSockets time.Duration // open websockets; then they are closed with code 1012
	Streams    time.Duration // responses that have begun and stand still
	Requests   time.Duration // everything else
	Tasks      time.Duration // beyond that: what an ASGI app does after its responses
}

var errNotLoaded = errors.New("the changed python application could not be loaded; the log has the reason")

// loadFailure is why an app has no generation to answer with.
type loadFailure struct{ err error }

func (f *loadFailure) Error() string { return f.err.Error() }

// reload loads the app's code anew because of changes.
func (a *App) reload(ctx context.Context, reason changes) {
	start := time.Now()
	logger := a.logger.Load()
	fields := []zap.Field{
		zap.String("app", a.config.Module), zap.String("changed", reason.first), zap.Int("files", reason.files),
	}
	gen, err := loadGeneration(ctx, a.config, time.Duration(a.startTimeout.Load()), logger)
	if ctx.Err() != nil && err != nil {
		return // the app is no longer wanted
	}
	fields = append(fields, zap.Duration("duration", time.Since(start)))
	switch {
	case err == nil:
		logger.Info("python app reloaded", fields...)
		a.replace(gen, nil)
	case a.config.Autoreload.OnError == "keep":
		logger.Error("reloading python app failed; it goes on with the code that it had", append(fields, zap.Error(err))...)
	default:
		logger.Error("reloading python app failed; requests fail until it is fixed", append(fields, zap.Error(err))...)
		a.replace(nil, &loadFailure{err})
	}
}

// replace puts a generation, or the reason why there is none, in the place of
// the current one.
func (a *App) replace(gen *generation, failure *loadFailure) {
	a.mu.Lock()
	if a.stopped {
		a.mu.Unlock()
		if gen != nil {
			gen.release()
			retiring.Go(func() { gen.retire(patience{}) })
		}
		return
	}
	if failure != nil { // before there is no generation
		a.failure.Store(failure)
	}
	old := a.current.Swap(gen)
	if failure == nil {
		a.failure.Store(nil)
	}
	if gen != nil { // a config may have come meanwhile
		gen.voice.logger.Store(a.logger.Load())
	}
	a.mu.Unlock()
	if old != nil {
		old.release()
		retiring.Go(func() { old.retire(a.config.Autoreload.Patience) })
	}
}

// refuse answers a request for which there is no generation.
func (a *App) refuse(w http.ResponseWriter, r *http.Request, err error) error {
	var failure *loadFailure
	if !errors.As(err, &failure) {
		return refuse(w, err)
	}
	if a.config.Debug && strings.Contains(r.Header.Get("Accept"), "text/html") {
		return failure.show(w)
	}
	return caddyhttp.Error(http.StatusInternalServerError, errNotLoaded)
}

// show writes a page for the developer.
func (f *loadFailure) show(w http.ResponseWriter) error {
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusInternalServerError)
	_, err := fmt.Fprintf(w, "<!DOCTYPE html>\n<title>Python application failed to load</title>\n"+
		"<h1>The changed application could not be loaded</h1>\n<pre>%s</pre>\n", html.EscapeString(f.Error()))
	return err
}

// drain waits until nothing runs on the generation, within limits, and sends
// away what would never end.
func (g *generation) drain(p patience) {
	if p.WebSockets == 0 {
		g.webSockets.closeAll()
	}
	select {
	case <-g.drained:
		return
	default:
	}
	deadline := time.After(p.Requests)
	slots.nudge(g) // those who don't move from here on stand still
	webSockets, streams := time.NewTimer(p.WebSockets), time.NewTicker(max(p.Streams, time.Second))
	defer webSockets.Stop()
	defer streams.Stop()
	for {
		select {
		case <-g.drained:
			return
		case <-deadline:
			g.webSockets.closeAll()
			if cut := slots.cut(g); cut > 0 {
				g.voice.logger.Load().Warn("requests are cancelled: the code that they run on is to end",
					zap.String("app", g.voice.app), zap.Int("requests", cut))
			}
			return
		case <-webSockets.C:
			g.webSockets.closeAll()
		case <-streams.C:
			slots.nudge(g)
		}
	}
}
