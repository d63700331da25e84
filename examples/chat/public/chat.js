"use strict";

const online = document.getElementById("online");
const messages = document.getElementById("messages");
const enter = document.getElementById("enter");
const say = document.getElementById("say");

let socket;

function show(message, name) {
  const item = document.createElement("li");
  const author = document.createElement("b");
  author.textContent = message.from;
  item.append(author, message.text);
  item.classList.toggle("own", message.from === name);
  messages.append(item);
  item.scrollIntoView({ block: "end" });
}

function connect(name) {
  const address = new URL("chat/", location);
  address.protocol = address.protocol.replace("http", "ws");
  address.searchParams.set("name", name);
  socket = new WebSocket(address);
  socket.onopen = () => messages.replaceChildren(); // The server sends what was said before.
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.online) {
      online.textContent = `${message.online.length} here: ${message.online.join(", ")}`;
    } else {
      show(message, name);
    }
  };
  // A server that reloads closes its websockets (code 1012), and is there again at once.
  socket.onclose = () => {
    online.textContent = "connecting …";
    setTimeout(connect, 500, name);
  };
}

enter.addEventListener("submit", (event) => {
  event.preventDefault();
  connect(enter.elements.name.value);
  enter.hidden = true;
  messages.hidden = say.hidden = false;
  say.elements.text.focus();
});

say.addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket.readyState === WebSocket.OPEN) {
    socket.send(say.elements.text.value);
    say.reset();
  }
});
