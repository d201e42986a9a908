/** `commit`: what a container has written becomes an image. */
import type { Command } from 'commander';
import { ClusterError } from '../../common/errors.ts';
import { parseReference } from '../../common/oci/reference.ts';
import type { covey } from '../../proto/messages.ts';
import { brief, interruptible, withCluster } from '../client.ts';
import { changed, type ImageConfigJson } from '../flags/image-changes.ts';
import { collected } from '../flags/values.ts';

interface CommitFlags {
  readonly author: string;
  readonly message: string;
  readonly change: readonly string[];
  readonly pause: boolean;
}

/** Declares the command. */
export function addCommitCommand(program: Command): void {
  program
    .command('commit <container> [repository[:tag]]')
    .description('Make an image of a container without a service')
    .option('-a, --author <name>', 'author', '')
    .option('-m, --message <text>', 'comment in the image’s history', '')
    .option('-c, --change <instruction>', 'a Dockerfile instruction to apply; may be repeated', collected, [])
    .option('--no-pause', 'let it go on while it is read')
    .action(commit);
}

async function commit(container: string, name: string | undefined, flags: CommitFlags): Promise<void> {
  if (name === undefined) {
    throw new ClusterError('invalid', 'an image without a name would be removed at once', {
      field: '--name',
      hint: `covey commit ${container} REPOSITORY[:TAG]`,
    });
  }
  const { reference, digest } = parseReference(name);
  if (digest !== undefined) throw new ClusterError('invalid', `"${name}" names a digest`, { field: '--name' });
  await withCluster(async (control, engine) => {
    const view = await engine.inspectContainer({ container }, brief());
    const own = view.spec?.template?.container;
    const { config } = await control.inspectImage({ ref: `${own?.image}@${own?.imageDigest}` }, brief());
    const base = (JSON.parse(config) as { readonly config?: ImageConfigJson }).config ?? {};
    const wish = changed(configOf(base, own), flags.change);
    const place = { node: view.nodeId, container: view.id };
    const { author, message, pause } = flags;
    const request = { ...place, name: reference, config: JSON.stringify(wish), author, message, pause };
    const made = await engine.commitContainer(request, { signal: interruptible() });
    process.stdout.write(`${made.digest}\n`);
  });
}

/** The image's words, with the container's own over them. */
export function configOf(
  base: ImageConfigJson,
  own: covey.v1.ContainerTemplate.$Properties | null | undefined,
): ImageConfigJson {
  if (!own) return base;
  const env = new Map([...(base.Env ?? []), ...(own.env ?? [])].map((each) => [each.split('=', 1)[0], each]));
  const labels = { ...base.Labels, ...own.labels };
  return {
    ...base,
    ...(env.size === 0 ? {} : { Env: [...env.values()] }),
    ...(Object.keys(labels).length === 0 ? {} : { Labels: labels }),
    // As for the container: another entrypoint drops the image's arguments.
    ...(own.entrypoint ? { Entrypoint: own.entrypoint.items ?? [], Cmd: [] } : {}),
    ...(own.args ? { Cmd: own.args.items ?? [] } : {}),
    ...(own.workdir ? { WorkingDir: own.workdir } : {}),
    ...(own.user ? { User: own.user } : {}),
    ...(own.stopSignal ? { StopSignal: own.stopSignal } : {}),
  };
}
