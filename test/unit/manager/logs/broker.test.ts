import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Queue } from '../../../../common/iterate.ts';
import type { NodeId } from '../../../../common/model/ids.ts';
import { ANSWER_MS, LogBroker, RESUME_MS } from '../../../../manager/logs/broker.ts';
import { Funnel } from '../../../../manager/logs/funnel.ts';
import { TimeOrder } from '../../../../manager/logs/time-order.ts';
import { covey } from '../../../../proto/messages.ts';
import { type ClusterBuilder, cluster } from '../../../support/cluster-builder.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';

let stop = new AbortController();
beforeEach(() => {
  stop = new AbortController();
});
afterEach(() => stop.abort());

const running = { status: { state: 'running' } } as const;

/** A broker whose messages to nodes are kept; nodes in `away` have no session. */
function rig(builder: ClusterBuilder, away: readonly string[] = []) {
  const clock = new FakeClock();
  const sent: { readonly node: string; readonly logs?: covey.v1.ILogRequest | null; readonly logsEnd?: unknown }[] = [];
  const broker = new LogBroker(builder.store, clock, (node, message) => {
    if (away.includes(node)) return false;
    sent.push({ node, ...(message as object) });
    return true;
  });
  const lines: string[] = [];
  let ended = false;
  const read = (refs: readonly string[], follow = false): void => {
    const pump = async (): Promise<void> => {
      for await (const line of broker.read({ refs, follow, tail: 10, since: 0 }, stop.signal)) {
        lines.push(
          line.incomplete || `${line.serviceName}.${line.slot}@${line.nodeName} ${Buffer.from(line.text ?? [])}`,
        );
      }
    };
    void pump().finally(() => {
      ended = true;
    });
  };
  /** Texts may begin with their time and a space. */
  const publish = (index: number, task: string, texts: readonly string[]): Queue<covey.v1.PublishedLog> => {
    const request = sent[index];
    const messages = new Queue<covey.v1.PublishedLog>(10, stop.signal);
    broker.publish((request?.node ?? '') as NodeId, messages).catch(() => {});
    const published = texts.map((each) => {
      const [text = '', time = 't'] = each.split(' ').toReversed();
      return { taskId: task, stream: 'stdout', time, text: Buffer.from(text) };
    });
    const encoded = covey.v1.PublishedLog.encode({ requestId: request?.logs?.id ?? '', lines: published }).finish();
    messages.push(covey.v1.PublishedLog.decode(encoded));
    return messages;
  };
  return { clock, sent, lines, read, publish, ended: () => ended };
}

const two = () =>
  cluster(2)
    .service('web', { replicas: 2 })
    .task('web.1', { node: 'n1', ...running })
    .task('web.2', { node: 'n2', ...running });

describe('the log broker', () => {
  it('asks the nodes of all tasks and ends when all have answered', async () => {
    const r = rig(two());
    r.read(['web']);
    await settle();
    expect(r.sent.map(({ node, logs }) => [node, logs?.tasks, logs?.tail])).toEqual([
      ['n1', ['web.1'], 10],
      ['n2', ['web.2'], 10],
    ]);
    r.publish(0, 'web.1', ['a']).end();
    await settle();
    expect(r.ended()).toBe(false);
    r.publish(1, 'web.2', ['b']).end();
    await settle();
    expect(r.lines).toEqual(['web.1@n1 a', 'web.2@n2 b']);
    expect(r.ended()).toBe(true);
  });

  it('tells what is not followed in the order of time, whichever node answers first', async () => {
    const r = rig(two());
    r.read(['web']);
    await settle();
    const second = r.publish(1, 'web.2', ['2 b', '5 e']);
    await settle();
    expect(r.lines).toEqual([]);
    r.publish(0, 'web.1', ['1 a', '3 c', '4 d']).end();
    second.end();
    await settle();
    expect(r.lines.map((line) => line.at(-1)).join('')).toBe('abcde');
    expect(r.ended()).toBe(true);
  });

  it('drops lines of tasks that the node was not asked for', async () => {
    const r = rig(two());
    r.read(['web']);
    await settle();
    r.publish(0, 'web.2', ['forged']).end();
    r.publish(1, 'web.2', ['true']).end();
    await settle();
    expect(r.lines).toEqual(['web.2@n2 true']);
  });

  it('names at the end what it could not reach', async () => {
    const r = rig(two(), ['n2']);
    r.read(['web']);
    await settle();
    r.publish(0, 'web.1', ['a']).end();
    await settle();
    expect(r.lines).toEqual(['web.1@n1 a', 'could not be read: web.2.web.2 on node n2']);
  });

  it('gives up a node that does not begin to answer', async () => {
    const r = rig(two());
    r.read(['web']);
    await settle();
    r.publish(0, 'web.1', ['a']).end();
    await settle();
    r.clock.advance(ANSWER_MS);
    await settle();
    expect(r.ended()).toBe(true);
    expect(r.lines.at(-1)).toBe('could not be read: web.2.web.2 on node n2');
  });

  it('adds tasks that appear later while it follows', async () => {
    const world = two();
    const r = rig(world);
    r.read(['web'], true);
    await settle();
    world.task('web.3', { node: 'n1', ...running });
    await settle();
    expect(r.sent.at(-1)).toMatchObject({ node: 'n1', logs: { tasks: ['web.3'], follow: true, tail: -1 } });
    r.publish(2, 'web.3', ['late']);
    await settle();
    expect(r.lines).toEqual(['web.3@n1 late']);
    expect(r.ended()).toBe(false);
  });

  it('asks a node again whose session was cut, from where the reader stands', async () => {
    const away: string[] = [];
    const r = rig(two(), away);
    r.read(['web.1'], true);
    await settle();
    const cut = r.publish(0, 'web.1', ['a', 'b']);
    await settle();
    away.push('n1');
    cut.end();
    await settle();
    r.clock.advance(RESUME_MS);
    await settle();
    expect(r.sent).toHaveLength(1);
    away.pop();
    r.clock.advance(RESUME_MS);
    await settle();
    expect(r.sent.at(-1)).toMatchObject({ logs: { tasks: ['web.1'], follow: true, tail: -1 } });
    // The burst of the mark's own time is sent again, whole; only what is behind it is new.
    r.publish(1, 'web.1', ['a', 'b', 'c']);
    await settle();
    expect(r.lines).toEqual(['web.1@n1 a', 'web.1@n1 b', 'web.1@n1 c']);
    expect(r.ended()).toBe(false);
  });

  it('tells the nodes when the reader has gone', async () => {
    const r = rig(two());
    r.read(['web'], true);
    await settle();
    stop.abort();
    await settle();
    expect(r.sent.filter(({ logsEnd }) => logsEnd).map(({ node }) => node)).toEqual(['n1', 'n2']);
  });

  it('reads one task by its id', async () => {
    const r = rig(two());
    r.read(['web.2']);
    await settle();
    expect(r.sent.map(({ logs }) => logs?.tasks)).toEqual([['web.2']]);
  });

  it('asks for nothing of tasks that never started', async () => {
    const r = rig(
      cluster(1)
        .service('web')
        .task('web.1', { status: { state: 'rejected' } })
        .task('web.2', { node: '' }),
    );
    r.read(['web']);
    await settle();
    expect([r.sent, r.ended()]).toEqual([[], true]);
  });
});

describe('the order of time', () => {
  it('lets a writer wait who is ahead of the reader, and no other', async () => {
    const order = new TimeOrder<{ readonly time: string }>(2, stop.signal);
    const writers = [order.writer(), order.writer()];
    const written = [0, 0];
    const write = async (which: number, count: number): Promise<void> => {
      const writer = writers[which];
      for (let i = 0; i < count && (await writer?.put([{ time: `${i}${which}` }])); i += 1) written[which] = i + 1;
      writer?.end();
    };
    write(0, 9).catch(() => {});
    await settle();
    expect(written).toEqual([1, 0]);
    write(1, 4).catch(() => {});
    order.end();
    const read: string[] = [];
    for await (const { time } of order.read()) read.push(time);
    expect(read).toEqual(['00', '01', '10', '11', '20', '21', '30', '31', '40', '50', '60', '70', '80']);
    expect(written).toEqual([9, 4]);
  });

  it('frees its writers when the reader goes', async () => {
    const order = new TimeOrder<{ readonly time: string }>(1, stop.signal);
    const waits = order.writer().put([{ time: '1' }, { time: '2' }]);
    const reader = order.read()[Symbol.asyncIterator]();
    expect((await reader.next()).value).toEqual({ time: '1' });
    await reader.return?.(undefined);
    expect(await waits).toBe(false);
    expect(await order.writer().put([{ time: '3' }])).toBe(false);
  });

  it('ends with its signal although a writer is silent', async () => {
    const order = new TimeOrder<{ readonly time: string }>(1, stop.signal);
    order.writer();
    const next = order.read()[Symbol.asyncIterator]().next();
    await settle();
    stop.abort();
    expect((await next).done).toBe(true);
  });
});

describe('a funnel', () => {
  it('lets writers wait while the reader is behind', async () => {
    const funnel = new Funnel<number>(2, stop.signal);
    let written = 0;
    const writer = funnel.writer();
    const write = async (): Promise<void> => {
      for (let item = 0; item < 10 && (await writer.put([item])); item += 1) written += 1;
    };
    write().catch(() => {});
    await settle();
    expect(written).toBe(1);
    const reader = funnel.read()[Symbol.asyncIterator]();
    for (let item = 0; item < 4; item += 1) expect((await reader.next()).value).toBe(item);
    await settle();
    expect(written).toBeGreaterThanOrEqual(4);
    expect(written).toBeLessThan(10);
    await reader.return?.(undefined);
    await settle();
    expect(funnel.isOpen).toBe(false);
  });
});
