import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Digest, NodeId } from '../../../../common/model/ids.ts';
import { MEMBERS_MAX, NEWS_EVERY_MS, type SwarmNews, Swarms } from '../../../../manager/mesh/swarms.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';

const BLOB = `sha256:${'a'.repeat(64)}` as Digest;
const node = (name: string) => name as NodeId;

let clock: FakeClock;
let away: Set<string>;
let swarms: Swarms;
let stops: AbortController[];

beforeEach(() => {
  clock = new FakeClock(0);
  away = new Set();
  stops = [];
  const addressOf = (id: NodeId) => (away.has(id) ? undefined : `${id}:1`);
  swarms = new Swarms({ addressOf, clock, random: () => 0 });
});
afterEach(() => {
  for (const stop of stops) stop.abort();
});

/** Takes part as the node; what it hears, as text. */
function join(name: string) {
  const stop = new AbortController();
  stops.push(stop);
  const heard: string[] = [];
  const listen = async (): Promise<void> => {
    for await (const news of swarms.join(BLOB, node(name), 10, stop.signal)) heard.push(textOf(news));
  };
  listen().catch((cause: unknown) => heard.push(String(cause)));
  return { heard, leave: () => stop.abort() };
}

function textOf({ peers, gone }: SwarmNews): string {
  const here = (peers ?? []).map(({ nodeId, whole }) => `+${nodeId}${whole === true ? '!' : ''}`);
  return [...here, ...(gone ?? []).map((id) => `-${id}`)].join(' ');
}

async function pass(): Promise<void> {
  await settle();
  clock.advance(NEWS_EVERY_MS);
  await settle();
}

describe('a node in a swarm', () => {
  it('hears who takes the blob beside it, who has it, and who has gone', async () => {
    swarms.heard(node('a'), { complete: true, have: [BLOB], gone: [] });
    const b = join('b');
    await pass();
    const c = join('c');
    await pass();
    c.leave();
    await pass();
    expect(b.heard).toEqual(['+a!', '+c', '-c']);
    expect(c.heard[0]).toBe('+b +a!');
  });

  it('hears of many together, not one by one', async () => {
    const b = join('b');
    await pass();
    for (const name of ['c', 'd', 'e']) join(name);
    await pass();
    expect(b.heard).toEqual(['', '+c +d +e']);
  });

  it('hears twice a second at most, however often something changes', async () => {
    const b = join('b');
    for (let ms = 0; ms < 2_000; ms += 20) {
      join(`n${ms}`);
      clock.advance(20);
      await settle();
    }
    expect(b.heard.length).toBeLessThanOrEqual(6);
    expect(b.heard.join(' ')).toContain('+n1200');
  });

  it('hears of a bounded number', async () => {
    for (let each = 0; each < MEMBERS_MAX + 20; each += 1)
      swarms.heard(node(`h${each}`), { complete: true, have: [BLOB], gone: [] });
    const b = join('b');
    await pass();
    expect(b.heard[0]?.split(' ')).toHaveLength(MEMBERS_MAX);
  });

  it('hears that another has become whole', async () => {
    const b = join('b');
    const c = join('c');
    await pass();
    swarms.heard(node('c'), { complete: false, have: [BLOB], gone: [] });
    c.leave();
    await pass();
    expect(b.heard.at(-1)).toBe('+c!');
  });
});

describe('what nodes say that they have', () => {
  it('counts until their session ends, and only of nodes that answer', () => {
    swarms.heard(node('a'), { complete: true, have: [BLOB], gone: [] });
    expect(swarms.isSpread(BLOB, node('b'))).toBe(true);
    expect(swarms.isSpread(BLOB, node('a'))).toBe(false);
    away.add('a');
    expect(swarms.isSpread(BLOB, node('b'))).toBe(false);
    away.clear();
    swarms.left(node('a'));
    expect(swarms.isSpread(BLOB, node('b'))).toBe(false);
  });

  it('is replaced as a whole by a new session, and changed by what comes and goes', () => {
    swarms.heard(node('a'), { complete: true, have: [BLOB], gone: [] });
    swarms.heard(node('a'), { complete: true, have: [], gone: [] });
    expect(swarms.isSpread(BLOB, node('b'))).toBe(false);
    swarms.heard(node('a'), { complete: false, have: [BLOB], gone: [] });
    expect(swarms.isSpread(BLOB, node('b'))).toBe(true);
    swarms.heard(node('a'), { complete: false, have: [], gone: [BLOB] });
    expect(swarms.isSpread(BLOB, node('b'))).toBe(false);
  });

  it('gives a piece only to a node that takes part', async () => {
    expect(swarms.originFor(BLOB, node('b'))).toBeUndefined();
    const b = join('b');
    await pass();
    expect(swarms.originFor(BLOB, node('b'))).toBeDefined();
    b.leave();
    await pass();
    expect(swarms.originFor(BLOB, node('b'))).toBeUndefined();
  });
});
