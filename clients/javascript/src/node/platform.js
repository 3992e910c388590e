// How a program on Node reaches the daemon: by `node:http` over TCP, TLS or a unix socket, with the token in a header.

import { readFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { fromWebSocket } from '../web-platform.js';
import { NodeWebSocket } from './websocket.js';

const MAX_ANSWER = 64 << 20;

/** The requests of one object to its daemon. */
function connect({ base, WebSocket }) {
  const isUnix = base.protocol === 'unix:';
  const isSecure = base.protocol === 'https:' || base.protocol === 'wss:';
  const options = (path, { token, timeout }) => ({
    ...(isUnix ? { socketPath: decodeURIComponent(base.pathname), host: 'localhost' } : { host: base.hostname.replace(/^\[|\]$/g, ''), port: base.port || (isSecure ? 443 : 80) }),
    path: (isUnix ? '' : base.pathname.replace(/\/$/, '')) + path,
    headers: token ? { Authorization: `Bearer ${token}` } : {},
    timeout,
  });
  return {
    get: (path, asked) => get(options(path, asked), isSecure),
    open(url, path, asked) {
      if (WebSocket) return fromWebSocket(WebSocket, url, asked);
      return new NodeWebSocket(options(path, asked), { ...asked, isSecure });
    },
  };
}

/** `{ status, json }`; rejected if there is no answer. */
function get(options, isSecure) {
  return new Promise((resolve, reject) => {
    const request = (isSecure ? https : http).get({ ...options, agent: false }, (response) => {
      const parts = [];
      let length = 0;
      response.on('data', (part) => {
        parts.push(part);
        length += part.length;
        if (length > MAX_ANSWER) request.destroy(new Error('the answer is too long'));
      });
      response.on('error', reject);
      response.on('end', () => {
        try {
          resolve({ status: response.statusCode, json: JSON.parse(Buffer.concat(parts)) });
        } catch {
          reject(new Error(`the answer is none of a wskeeper daemon (status ${response.statusCode})`));
        }
      });
    });
    request.on('error', reject);
    request.on('timeout', () => request.destroy(new Error('the daemon did not answer in time')));
  });
}

/** The variables that the command line reads too, unless options say otherwise. */
export const nodePlatform = {
  connect,
  defaultBase: () => process.env.WSKEEPER_API || 'http://127.0.0.1:7700',
  async defaultToken() {
    const { WSKEEPER_TOKEN_FILE: file, WSKEEPER_TOKEN: token } = process.env;
    return file ? (await readFile(file, 'utf8')).trim() : token;
  },
};
