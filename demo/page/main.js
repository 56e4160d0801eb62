/** The demo page. It leads from the lobby to a call and back. */

import { call } from "./call.js";
import { Devices } from "./devices.js";
import { byId } from "./dom.js";
import { lobby } from "./lobby.js";
import { SignalingClient } from "./sdk/signaling.js";
import { currentToken, takeTokenFromAddress } from "./token.js";

function newClient() {
  const client = new SignalingClient(byId("preview", HTMLVideoElement), {
    // The server is in the page's folder, also behind a proxy that adds a prefix to the path.
    signalingServerEndpoint: new URL(".", location.href).href,
    // A function, since a link with another token may be opened in the same tab.
    token: currentToken,
  });
  // This is for the console and for tests.
  Object.assign(window, { signaling: client });
  return client;
}

// This comes before the lobby reads the address.
takeTokenFromAddress();
window.addEventListener("hashchange", takeTokenFromAddress);

// A preview that has no picture yet would keep the page loading, without a camera for ever.
if (document.readyState !== "complete") {
  await new Promise((loaded) => window.addEventListener("load", loaded, { once: true }));
}

let client = newClient();
const devices = new Devices(client);

// A page that has left the call cannot continue it when the browser shows the page again.
window.addEventListener("pagehide", () => client.close());
window.addEventListener("pageshow", (event) => event.persisted && location.reload());

for (let returning = false; ; returning = true) {
  const room = await lobby(client, devices, returning);
  await call(client, devices, room);
  client = newClient();
  devices.use(client);
}
