import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Attachment, NetworkRate } from '../../../agent/network/network.ts';
import { linkName } from '../../../agent/network/owned.ts';
import type { TaskId } from '../../../common/model/ids.ts';
import { type Host, Segment, type Talker } from './segment.ts';

const ADDRESS = '10.88.1.2';
const PORT = 9_000;
const BITS = 20_000_000;
/** Longer than it takes to measure as often as may be: the first look is before the bucket has run empty. */
const FLOOD_MS = '60000';
const BUCKET_MS = '1000';
const MEASURED_MS = '2000';
const TOLERANCE = 0.05;
/** On a busy machine the sender may stand still for longer than the queue lasts, but not each time. */
const LOOKS_MAX = 5;

let segment: Segment;
let host: Host;

beforeAll(async () => {
  segment = new Segment(2);
  const [first] = segment.hosts;
  if (first === undefined) throw new Error('no hosts');
  host = first;
  for (const one of segment.hosts) {
    await one.up();
    await one.call('start', one.state(segment.hosts));
  }
}, 60_000);

afterAll(async () => {
  await segment?.close();
});

async function attached(name: string, rate?: NetworkRate): Promise<{ container: Talker; taskId: TaskId }> {
  const container = await segment.container(name, 80);
  const taskId = name.padEnd(25, 'x') as TaskId;
  const attachment: Attachment = { taskId, address: ADDRESS, hostPorts: [], ...(rate === undefined ? {} : { rate }) };
  await host.call('attach', attachment, container.process.pid ?? 0);
  return { container, taskId };
}

/** Bits a second of one way through a link. */
type Look = () => Promise<number>;

/** What a meter has seen of one way. */
async function bits(meter: Talker, way: 'received' | 'sent'): Promise<number> {
  const [received, sent] = (await meter.line()).split(' ').map(Number);
  return (way === 'received' ? received : sent) ?? Number.NaN;
}

/** Never more than the rate, and all of it as soon as there is enough to send. */
async function expectRate(looks: readonly Look[]): Promise<void> {
  for (let count = 1; ; count += 1) {
    const found = await Promise.all(looks.map((look) => look()));
    expect(Math.max(...found)).toBeLessThan(BITS * (1 + TOLERANCE));
    if (Math.min(...found) > BITS * (1 - TOLERANCE)) return;
    expect(count, `looks, the last ${found.join(' and ')} bit/s`).toBeLessThan(LOOKS_MAX);
  }
}

describe('the network rate of a container', { timeout: 60_000 }, () => {
  it('holds what it sends, seen from inside and outside', async () => {
    const { container, taskId } = await attached('sender', { egressBits: BITS, ingressBits: 0 });
    const sink = segment.talk('h2', 'swallow', 'sink', `${PORT}`);
    expect(await sink.line()).toBe('ready');
    const flood = segment.talkFrom(container, 'flood', '10.77.0.2', `${PORT}`, FLOOD_MS);
    expect(await flood.line()).toBe('sending');
    const inside = (ms: string) => segment.talkFrom(container, 'meter', 'eth0', ms);
    const outside = (ms: string) => segment.talk('h1', 'meter', linkName(taskId), ms);
    await inside(BUCKET_MS).line();
    await expectRate([() => bits(inside(MEASURED_MS), 'sent'), () => bits(outside(MEASURED_MS), 'received')]);
    await flood.end();
    await container.end();
    await host.call('detach', taskId);
  });

  it('holds what it gets, seen from inside and outside', async () => {
    const { container, taskId } = await attached('receiver', { egressBits: 0, ingressBits: BITS });
    const sink = segment.talkFrom(container, 'swallow', 'sink', `${PORT}`);
    expect(await sink.line()).toBe('ready');
    const flood = segment.talk('h2', 'flood', ADDRESS, `${PORT}`, FLOOD_MS);
    expect(await flood.line()).toBe('sending');
    const inside = (ms: string) => segment.talkFrom(container, 'meter', 'eth0', ms);
    const outside = (ms: string) => segment.talk('h1', 'meter', linkName(taskId), ms);
    await inside(BUCKET_MS).line();
    await expectRate([() => bits(inside(MEASURED_MS), 'received'), () => bits(outside(MEASURED_MS), 'sent')]);
    await flood.end();
    await container.end();
    await host.call('detach', taskId);
  });

  it('is no limit when none was given', async () => {
    const { container, taskId } = await attached('free');
    const queues = segment.enter(container, 'tc', 'qdisc', 'show', 'dev', 'eth0');
    expect(queues).not.toContain('tbf');
    await container.end();
    await host.call('detach', taskId);
  });
});
