/**
 * The door for what is written into rules and routes. Peers describe themselves, so a text of theirs that is no address
 * must never reach nft's parser. Pure.
 */
import { isIPv4 } from 'node:net';
import { ClusterError } from '../../common/errors.ts';
import type { Attachment, HostNetwork, HostPort, Peer, PublishedPort } from './network.ts';

const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

/** @throws ClusterError `invalid` naming the field */
export function checkHost(host: HostNetwork): void {
  address('address', host.address);
  prefix('pool', host.pool);
  prefix('block', host.block);
  if (!contains(host.pool, host.block)) refuse('block', `${host.block} is not part of the pool ${host.pool}`);
  if (contains(host.pool, host.address)) {
    throw new ClusterError('invalid', `the host's address ${host.address} lies in the pool ${host.pool}`, {
      field: 'pool',
      hint: 'choose an address pool that no network of the hosts uses',
    });
  }
}

/** Why the peer cannot be used; empty = it can. */
export function flawOf(peer: Peer, host: HostNetwork): string {
  if (!isIPv4(peer.address)) return `address ${JSON.stringify(peer.address)} is not an IPv4 address`;
  if (!MAC.test(peer.mac)) return `mac ${JSON.stringify(peer.mac)} is not a MAC address`;
  if (!isPrefix(peer.block) || !contains(host.pool, peer.block)) {
    return `block ${JSON.stringify(peer.block)} is not part of the pool ${host.pool}`;
  }
  if (contains(host.block, peer.block) || contains(peer.block, host.block))
    return `block ${peer.block} overlaps our own`;
  return '';
}

/** @throws ClusterError `invalid` naming the port */
export function checkPorts(ports: readonly PublishedPort[]): void {
  for (const { protocol, published, backends } of ports) {
    const name = `port ${published}/${protocol}`;
    checkProtocol(name, protocol);
    number(name, published);
    for (const backend of backends) {
      address(`${name}, task ${backend.taskId}`, backend.address);
      number(`${name}, task ${backend.taskId}`, backend.target);
    }
  }
}

/** @throws ClusterError `invalid` naming the field */
export function checkAttachment({ taskId, address: own, hostPorts }: Attachment, host: HostNetwork): void {
  if (!/^[0-9a-z]{11,}$/.test(taskId)) refuse('taskId', `${JSON.stringify(taskId)} is not a task id`);
  address('address', own);
  if (!contains(host.block, own))
    refuse('address', `${own} of task ${taskId} is not in this host's block ${host.block}`);
  for (const port of hostPorts) checkHostPort(port);
}

function checkHostPort({ protocol, published, target }: HostPort): void {
  const name = `port ${published}/${protocol}`;
  checkProtocol(name, protocol);
  number(name, published);
  number(name, target);
}

function checkProtocol(field: string, protocol: string): void {
  if (protocol !== 'tcp' && protocol !== 'udp') refuse(field, `${JSON.stringify(protocol)} is neither tcp nor udp`);
}

function number(field: string, port: number): void {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) refuse(field, `${port} is not a port number`);
}

function address(field: string, text: string): void {
  if (!isIPv4(text)) refuse(field, `${JSON.stringify(text)} is not an IPv4 address`);
}

function prefix(field: string, text: string): void {
  if (!isPrefix(text)) refuse(field, `${JSON.stringify(text)} is not an IPv4 prefix such as 10.88.0.0/16`);
}

function refuse(field: string, why: string): never {
  throw new ClusterError('invalid', why, { field });
}

/** With its host bits zero. */
function isPrefix(text: string): boolean {
  const [base = '', length = '', ...rest] = text.split('/');
  if (!isIPv4(base) || rest.length > 0 || !/^\d{1,2}$/.test(length) || Number(length) > 32) return false;
  return (bits(base) & mask(Number(length))) >>> 0 === bits(base);
}

/** Whether `inner`, an address or prefix, lies in the prefix `outer`. */
function contains(outer: string, inner: string): boolean {
  const [base = '', length = '32'] = outer.split('/');
  const [start = '', innerLength = '32'] = inner.split('/');
  const net = mask(Number(length));
  return Number(innerLength) >= Number(length) && (bits(start) & net) >>> 0 === (bits(base) & net) >>> 0;
}

function bits(text: string): number {
  return text.split('.').reduce((value, part) => value * 256 + Number(part), 0);
}

function mask(length: number): number {
  return length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
}
