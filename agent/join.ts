/**
 * Joins a cluster with nothing but a token and an address.
 *
 * The server's chain is read over bare TLS and its CA compared with the token's digest before a byte of ours is sent;
 * then one call, `Ca.Issue`, goes over a second connection that trusts that CA only. Reading and calling over one
 * connection would leak the secret: with verification off, nothing checks the server before the call goes out.
 */

import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { connect, type DetailedPeerCertificate } from 'node:tls';
import { ClusterError, messageOf } from '../common/errors.ts';
import { rpcChannel } from '../common/rpc.ts';
import { createRequest } from '../common/tls/certificate.ts';
import type { Identity } from '../common/tls/identity.ts';
import { identify } from '../common/tls/peer.ts';
import { caDigest, parseToken } from '../common/tls/token.ts';
import { Ca } from '../proto/methods.ts';

const DIAL_MS = 10_000;
/** More links than this are no chain of ours. */
const CHAIN_MAX = 8;

export interface JoinRequest {
  readonly token: string;
  /** HOST:PORT of any manager. */
  readonly address: string;
  readonly hostname: string;
}

/**
 * Resolves to the node's new identity; the caller stores it.
 * @throws ClusterError `invalid` (token or address malformed), `denied` (the server is not of the token's cluster, or the
 *   token was rotated), `unavailable` (nobody answers there)
 */
export async function join(request: JoinRequest, signal: AbortSignal): Promise<Identity> {
  const token = parseToken(request.token);
  const ca = await trustedCa(request.address, token.caDigest, signal);
  const { csr, key } = await createRequest();
  // No certificate yet: the channel shows none, and trusts the pinned CA only.
  const channel = rpcChannel(request.address, { ca, certificate: '', key: '' });
  try {
    const reply = await channel
      .service(Ca)
      .issue({ secret: token.secret, csr, hostname: request.hostname }, { signal, deadlineMs: DIAL_MS });
    const managers = [...new Set([request.address, ...reply.managers])];
    return {
      id: reply.nodeId,
      clusterId: reply.clusterId,
      certificate: reply.certificate,
      ca: reply.ca,
      key,
      managers,
    };
  } finally {
    channel.close();
  }
}

/** The CA (PEM) that the server's chain ends in, if it is the token's and signed the server's own manager certificate. */
async function trustedCa(address: string, digest: string, signal: AbortSignal): Promise<string> {
  const chain = await chainOf(address, signal);
  const ca = chain.find((certificate) => caDigest(certificate) === digest);
  if (ca === undefined) {
    throw new ClusterError('denied', `the server at ${address} is not of the cluster that made this token`, {
      field: 'token',
      hint: 'check the address; if it is right, somebody may be in between: do not join over this network',
    });
  }
  const pem = pemOf(ca);
  const leaf = chain[0];
  if (leaf === undefined || identify(pem)(Buffer.from(leaf))?.role !== 'manager') {
    throw new ClusterError('denied', `the server at ${address} has no manager's certificate of this cluster`);
  }
  return pem;
}

/** The certificates that the server shows, leaf first, DER. Sends nothing but the TLS handshake. */
async function chainOf(address: string, signal: AbortSignal): Promise<readonly Uint8Array[]> {
  const { host, port } = hostPort(address);
  const socket = connect({ host, port, rejectUnauthorized: false, ALPNProtocols: ['h2'], minVersion: 'TLSv1.3' });
  const done = new AbortController();
  try {
    return await Promise.race([
      once(socket, 'secureConnect', { signal }).then(() => unroll(socket.getPeerCertificate(true))),
      wait(DIAL_MS, undefined, { signal: done.signal }).then(() => {
        throw new Error(`no answer within ${DIAL_MS / 1000} s`);
      }),
    ]);
  } catch (cause) {
    signal.throwIfAborted();
    throw new ClusterError('unavailable', `cannot reach a manager at ${address}: ${messageOf(cause)}`, {
      hint: 'check the address, the port (default 2377) and the firewall between',
      cause,
    });
  } finally {
    done.abort();
    socket.destroy();
  }
}

function unroll(leaf: DetailedPeerCertificate): readonly Uint8Array[] {
  const chain: Uint8Array[] = [];
  for (let link: DetailedPeerCertificate | undefined = leaf; link !== undefined && chain.length < CHAIN_MAX; ) {
    if (link.raw === undefined) break;
    chain.push(link.raw);
    link = link.issuerCertificate === link ? undefined : link.issuerCertificate;
  }
  return chain;
}

function pemOf(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function hostPort(address: string): { host: string; port: number } {
  const parts = /^\[?([^\]]+?)\]?:(\d{1,5})$/.exec(address);
  const port = Number(parts?.[2]);
  if (parts?.[1] === undefined || port < 1 || port > 65_535) {
    throw new ClusterError('invalid', `"${address}" is not HOST:PORT`, {
      field: 'address',
      hint: 'for example 10.0.0.5:2377',
    });
  }
  return { host: parts[1], port };
}
