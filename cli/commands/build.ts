/** `build`: an image from a Dockerfile, built on a node and put into the cluster. */
import type { Command } from 'commander';
import { ClusterError } from '../../common/errors.ts';
import type { covey } from '../../proto/messages.ts';
import { callBuild } from '../build-call.ts';
import { BuildProgress } from '../build-progress.ts';
import { sourceOf } from '../build-source.ts';
import { interruptible, withCluster } from '../client.ts';
import { secretsOf } from '../flags/build-secret.ts';
import { addSwitch } from '../flags/switch.ts';
import { collected } from '../flags/values.ts';

interface BuildFlags {
  readonly tag: readonly string[];
  readonly file?: string;
  readonly buildArg: readonly string[];
  readonly target?: string;
  readonly cache: boolean;
  readonly label: readonly string[];
  readonly pull?: boolean;
  readonly secret: readonly string[];
  readonly network?: string;
  readonly allow: readonly string[];
  readonly progress: string;
  readonly quiet?: boolean;
  readonly node?: string;
}

/** Adds `build`. */
export function addBuildCommand(parent: Command): void {
  const build = parent
    .command('build')
    .description('Build an image from a Dockerfile, on a node, into the cluster')
    .argument('<context>', 'a folder; the URL of a tar; or `-`: a tar or a Dockerfile on standard input')
    .option('-t, --tag <name[:tag]>', 'the image’s name; may be repeated', collected, [])
    .option('-f, --file <file>', 'the Dockerfile (default: CONTEXT/Dockerfile; `-`: standard input)')
    .option('--build-arg <name=value>', 'a value for ARG; NAME alone takes ours; may be repeated', collected, [])
    .option('--target <stage>', 'the stage to build')
    .option('--no-cache', 'do every step anew')
    .option('--label <key=value>', 'a label of the image; may be repeated', collected, [])
    .option('--secret <id=name,src=file>', 'a file, or env=VARIABLE, for RUN --mount=type=secret', collected, [])
    .option('--network <network>', 'of RUN: default, none or host')
    .option('--allow <entitlement>', 'network.host: RUN --network=host may be', collected, [])
    .option('--progress <plain|auto>', 'how it is shown', 'auto')
    .option('--node <node>', 'where to build (default: the node with the most room)');
  addSwitch(build, '--pull', 'ask registries for newer base images');
  addSwitch(build, '-q, --quiet', 'only the image’s id');
  build.action(runBuild);
}

async function runBuild(context: string, flags: BuildFlags): Promise<void> {
  const signal = interruptible();
  if (!['plain', 'auto'].includes(flags.progress)) {
    throw new ClusterError('invalid', `progress "${flags.progress}" is not known`, {
      field: '--progress',
      hint: 'choose plain or auto',
    });
  }
  if (flags.tag.length === 0) {
    throw new ClusterError('invalid', 'the image has no name', {
      field: '--tag',
      hint: 'give it one with -t NAME[:TAG]',
    });
  }
  const source = await sourceOf(context, flags.file, signal);
  const start: covey.v1.BuildStart.$Properties = {
    names: [...flags.tag],
    file: source.name,
    ...(source.text === undefined ? {} : { text: source.text }),
    target: flags.target ?? '',
    args: { ...reproducible(), ...variablesOf(flags.buildArg, '--build-arg') },
    labels: variablesOf(flags.label, '--label'),
    secrets: secretsOf(flags.secret, process.env),
    noCache: !flags.cache,
    pull: flags.pull === true,
    network: flags.network ?? '',
    allow: [...flags.allow],
    contextUrl: source.context.kind === 'url' ? source.context.url : '',
    hasContext: source.context.kind === 'tar',
    listedContext: source.context.kind === 'folder' ? source.context.origin : '',
  };
  const progress = new BuildProgress(flags.quiet === true ? 'quiet' : 'plain');
  await withCluster(async (_control, engine) => {
    const first = { node: flags.node ?? '', start };
    await callBuild(engine, { first, context: source.context, show: (output) => progress.show(output) }, signal);
  });
  progress.done(flags.tag);
}

/** As docker buildx does. Source: reproducible-builds.org, SOURCE_DATE_EPOCH. */
function reproducible(): Record<string, string> {
  const { SOURCE_DATE_EPOCH } = process.env;
  return SOURCE_DATE_EPOCH === undefined ? {} : { SOURCE_DATE_EPOCH };
}

function variablesOf(pairs: readonly string[], field: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    const name = at < 0 ? pair : pair.slice(0, at);
    if (name === '') throw new ClusterError('invalid', `"${pair}" has no name`, { field, hint: 'write NAME=VALUE' });
    const own = field === '--build-arg' ? process.env[name] : '';
    const value = at < 0 ? own : pair.slice(at + 1);
    if (value !== undefined) found[name] = value;
  }
  return found;
}
