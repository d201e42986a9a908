/** Engine's build: messages to wishes, events to messages. */
import { ClusterError } from '../../common/errors.ts';
import type { covey } from '../../proto/messages.ts';
import type { Engine } from '../../proto/methods.ts';
import type { Handlers } from '../../proto/rpc.ts';
import type { Builder, BuilderEvent, BuildWish } from './builder.ts';
import type { ContextInput } from './context-input.ts';

type BuildOutput = covey.v1.BuildOutput.$Properties;

const NETWORKS = ['default', 'none', 'host'] as const;
const HOST_NETWORK = 'network.host';
const DOCKERFILE = 'Dockerfile';
const ORIGIN = /^[0-9a-f]{64}$/;

export function buildHandler(builder: Pick<Builder, 'build'>): Pick<Handlers<typeof Engine>, 'build'> {
  return {
    async *build(requests, { signal }) {
      const inputs = requests[Symbol.asyncIterator]();
      const first = await inputs.next();
      const start = first.done === true ? undefined : first.value.start;
      if (start === undefined || start === null)
        throw new ClusterError('invalid', 'a build did not say what is to be built');
      for await (const event of builder.build(wishOf(start), contextOf(start, inputs), signal)) yield messageOf(event);
    },
  };
}

/** @throws ClusterError `invalid` */
function contextOf(
  { contextUrl = '', hasContext, listedContext: origin = '' }: covey.v1.BuildStart.$Properties,
  inputs: AsyncIterator<covey.v1.BuildInput>,
): ContextInput {
  if (contextUrl !== '') return { kind: 'url', url: contextUrl };
  if (hasContext === true) return { kind: 'tar', chunks: pieces(inputs) };
  if (origin === '') return { kind: 'none' };
  if (ORIGIN.test(origin)) return { kind: 'listed', origin, listing: listing(inputs), contents: pieces(inputs) };
  throw new ClusterError('invalid', 'the origin of the build context is no digest', { field: 'listed_context' });
}

async function* listing(
  inputs: AsyncIterator<covey.v1.BuildInput>,
): AsyncGenerator<readonly covey.v1.ContextEntry.$Properties[]> {
  for (;;) {
    const next = await inputs.next();
    const found = next.done === true ? undefined : next.value.listing;
    if (!found) throw new ClusterError('invalid', 'the listing of the build context has broken off');
    yield found.entries ?? [];
    if (found.last === true) return;
  }
}

async function* pieces(inputs: AsyncIterator<covey.v1.BuildInput>): AsyncGenerator<Uint8Array> {
  for (let next = await inputs.next(); next.done !== true; next = await inputs.next())
    yield next.value.context ?? new Uint8Array();
}

/** @throws ClusterError `invalid` */
function wishOf(start: covey.v1.BuildStart.$Properties): BuildWish {
  const names = start.names ?? [];
  if (names.length === 0) throw new ClusterError('invalid', 'an image is built under a name', { field: 'names' });
  const asked = start.network ?? '';
  const network = asked === '' ? 'default' : NETWORKS.find((each) => each === asked);
  if (network === undefined) {
    const hint = 'choose default, none or host';
    throw new ClusterError('invalid', `network "${asked}" is not known to builds`, { field: 'network', hint });
  }
  const unknown = (start.allow ?? []).find((each) => each !== HOST_NETWORK);
  if (unknown !== undefined) {
    const hint = `choose ${HOST_NETWORK}`;
    throw new ClusterError('invalid', `"${unknown}" cannot be allowed to builds`, { field: 'allow', hint });
  }
  const name = start.file === undefined || start.file === '' ? DOCKERFILE : start.file;
  const { text, target } = start;
  return {
    names,
    dockerfile: { name, ...(text === undefined || text === null ? {} : { text }) },
    ...(target === undefined || target === '' ? {} : { target }),
    args: start.args ?? {},
    labels: start.labels ?? {},
    secrets: new Map(Object.entries(start.secrets ?? {})),
    usesCache: start.noCache !== true,
    pulls: start.pull === true,
    network,
    // Who asks for it for all of them means it.
    allowsHostNetwork: network === 'host' || (start.allow ?? []).includes(HOST_NETWORK),
  };
}

function messageOf(event: BuilderEvent): BuildOutput {
  switch (event.kind) {
    case 'begin':
      return { begin: { number: event.number, title: event.title } };
    case 'end':
      return { end: { number: event.number, outcome: event.outcome, ms: event.ms } };
    case 'failed':
      return { end: { number: event.number, outcome: 'failed', message: event.message } };
    case 'output':
      return { text: { number: event.number, isError: event.stream === 'stderr', text: event.text } };
    case 'warning':
      return { warning: event.message };
    case 'lacks':
      return { lacks: { entries: [...event.entries] } };
    case 'built':
      return { built: event.digest };
  }
}
