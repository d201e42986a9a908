/** `covey events`: what happens in the cluster, as it happens. */
import type { Command } from 'commander';
import type { covey } from '../../proto/messages.ts';
import { interruptible, withCluster } from '../client.ts';
import { EXIT } from '../exit.ts';
import { word } from '../flags/values.ts';

const TYPES = ['service', 'node', 'task', 'image'] as const;

interface EventFlags {
  readonly since?: string;
  readonly type?: readonly string[];
  readonly format?: string;
}

/** Adds `events`. */
export function addEventsCommand(program: Command): void {
  program
    .command('events')
    .description('Show what happens in the cluster, as it happens')
    .option('--since <time>', 'begin with what is remembered since then (the last 256 events are)')
    .option(
      '--type <type>',
      'service, node, task or image; repeatable',
      (item: string, before: string[] | undefined) => [...(before ?? []), item],
    )
    .option('--format <format>', 'json: one object a line')
    .action(showEvents);
}

async function showEvents(flags: EventFlags): Promise<void> {
  const { sinceMs } = await import('./service-logs.ts');
  const signal = interruptible();
  const request = {
    types: (flags.type ?? []).map((type) => word(type, TYPES, '--type')),
    sinceMs: flags.since === undefined ? 0 : sinceMs(flags.since, Date.now()),
  };
  try {
    await withCluster(async (control) => {
      for await (const event of control.watch(request, { signal }))
        process.stdout.write(`${line(event, flags.format)}\n`);
    });
  } catch (error) {
    if (!signal.aborted) throw error;
    process.exitCode = EXIT.interrupted;
  }
}

function line(event: covey.v1.Event, format: string | undefined): string {
  const time = new Date(event.at).toISOString();
  if (format === 'json') {
    const { type, action, id, name, attributes } = event;
    return JSON.stringify({
      Time: time,
      Type: type,
      Action: action,
      Actor: { ID: id, Attributes: { name, ...attributes } },
    });
  }
  const attributes = Object.entries({ name: event.name, ...event.attributes }).map(([key, value]) => `${key}=${value}`);
  return `${time} ${event.type} ${event.action} ${event.id} (${attributes.join(', ')})`;
}
