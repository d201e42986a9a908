/** The services of `*.proto` as tables: path, kind and codec of every method. A test holds them against the .proto files. */
import { covey } from './messages.ts';

/** What a generated message class offers; `T` is what it decodes to, `P` what it encodes. */
interface Codec<P, T> {
  encode(message: P): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

export type MethodKind = 'unary' | 'server-stream' | 'client-stream' | 'bidi';

/** One method. `In`/`Out` are what handlers receive and callers get; `InProps`/`OutProps` what callers and handlers give. */
export interface Method<Kind extends MethodKind, InProps, In, OutProps, Out> {
  readonly kind: Kind;
  readonly request: Codec<InProps, In>;
  readonly response: Codec<OutProps, Out>;
}

// biome-ignore lint/suspicious/noExplicitAny: the table's bound; every entry has its own exact types
export type AnyMethod = Method<MethodKind, any, any, any, any>;

export interface ServiceTable {
  readonly name: string;
  readonly methods: Readonly<Record<string, AnyMethod>>;
}

function define<Kind extends MethodKind>(kind: Kind) {
  return <InProps, In, OutProps, Out>(
    request: Codec<InProps, In>,
    response: Codec<OutProps, Out>,
  ): Method<Kind, InProps, In, OutProps, Out> => ({ kind, request, response });
}

const unary = define('unary');
const serverStream = define('server-stream');
const clientStream = define('client-stream');
const bidi = define('bidi');
const v1 = covey.v1;

/** What clients ask of any manager. Source: control.proto. */
export const Control = {
  name: 'covey.v1.Control',
  methods: {
    createService: unary(v1.CreateServiceRequest, v1.ServiceView),
    updateService: unary(v1.UpdateServiceRequest, v1.ServiceView),
    rollbackService: unary(v1.RollbackServiceRequest, v1.ServiceView),
    removeService: unary(v1.ServiceRef, v1.Empty),
    getService: unary(v1.ServiceRef, v1.ServiceView),
    listServices: unary(v1.ListServicesRequest, v1.ServiceList),
    listTasks: unary(v1.ListTasksRequest, v1.TaskList),
    watchProgress: serverStream(v1.WatchProgressRequest, v1.Progress),
    getNode: unary(v1.NodeRef, v1.NodeView),
    listNodes: unary(v1.Empty, v1.NodeList),
    updateNode: unary(v1.UpdateNodeRequest, v1.NodeView),
    removeNode: unary(v1.RemoveNodeRequest, v1.Empty),
    loadImage: clientStream(v1.LoadImageRequest, v1.ImageList),
    pullImage: serverStream(v1.PullImageRequest, v1.PullProgress),
    pushImage: serverStream(v1.PushImageRequest, v1.PushProgress),
    listTags: unary(v1.ListTagsRequest, v1.TagList),
    listImages: unary(v1.ListImagesRequest, v1.ImageList),
    inspectImage: unary(v1.ImageRef, v1.ImageDetails),
    tagImage: unary(v1.TagImageRequest, v1.Image),
    removeImage: unary(v1.RemoveImageRequest, v1.RemovedImages),
    saveImages: serverStream(v1.SaveImagesRequest, v1.ArchiveChunk),
    importImage: clientStream(v1.ImportImageRequest, v1.Image),
    pruneImages: unary(v1.PruneImagesRequest, v1.RemovedImages),
    login: unary(v1.LoginRequest, v1.LoginReply),
    logout: unary(v1.LogoutRequest, v1.LogoutReply),
    createContainer: unary(v1.CreateContainerRequest, v1.ContainerView),
    removeContainer: unary(v1.RemoveContainerRef, v1.Empty),
    renameContainer: unary(v1.RenameContainerRef, v1.Empty),
    listContainers: unary(v1.Empty, v1.ContainerList),
    getCluster: unary(v1.Empty, v1.ClusterInfo),
    getJoinToken: unary(v1.JoinTokenRequest, v1.JoinToken),
    watch: serverStream(v1.WatchRequest, v1.Event),
    logs: serverStream(v1.LogsRequest, v1.LogLine),
    exec: bidi(v1.ExecInput, v1.ExecOutput),
  },
} as const;

/** Between an agent and the leading manager. Source: dispatcher.proto. */
export const Dispatcher = {
  name: 'covey.v1.Dispatcher',
  methods: {
    session: bidi(v1.AgentMessage, v1.ManagerMessage),
    publishLogs: clientStream(v1.PublishedLog, v1.Empty),
    relay: bidi(v1.RelayUp, v1.RelayDown),
  },
} as const;

/** What one host does for a user besides its tasks. Source: engine.proto. */
export const Engine = {
  name: 'covey.v1.Engine',
  methods: {
    exec: bidi(v1.ExecInput, v1.ExecOutput),
    diskUse: unary(v1.DiskUseRequest, v1.DiskUseReport),
    pruneDisk: serverStream(v1.PruneDiskRequest, v1.DiskItem),
    placeImage: serverStream(v1.PlaceImageRequest, v1.ImagePlaced),
    attach: bidi(v1.ExecInput, v1.ExecOutput),
    createContainer: unary(v1.NewContainer, v1.ContainerView),
    listContainers: unary(v1.ListNodeContainersRequest, v1.ContainerViews),
    inspectContainer: unary(v1.ContainerRef, v1.ContainerView),
    startContainer: unary(v1.ContainerRef, v1.ContainerExit),
    stopContainer: unary(v1.StopContainerRequest, v1.Empty),
    killContainer: unary(v1.KillContainerRequest, v1.Empty),
    pauseContainer: unary(v1.PauseContainerRequest, v1.Empty),
    removeContainer: unary(v1.RemoveContainerRequest, v1.Empty),
    renameContainer: unary(v1.RenameContainerRequest, v1.Empty),
    updateContainer: unary(v1.UpdateContainerRequest, v1.Empty),
    waitContainer: unary(v1.ContainerRef, v1.ContainerExit),
    listVolumes: unary(v1.ListVolumesRequest, v1.VolumeList),
    removeVolume: unary(v1.RemoveVolumeRequest, v1.Empty),
    containerLogs: serverStream(v1.ContainerLogsRequest, v1.LogLine),
    containerStats: serverStream(v1.ContainerStatsRequest, v1.ContainerUsage),
    containerTop: unary(v1.ContainerTopRequest, v1.ContainerProcesses),
    build: bidi(v1.BuildInput, v1.BuildOutput),
    commitContainer: unary(v1.CommitContainerRequest, v1.CommittedImage),
    containerChanges: unary(v1.ContainerRef, v1.ContainerChangeList),
    exportContainer: serverStream(v1.ContainerRef, v1.FileChunk),
    statPath: unary(v1.PathRequest, v1.PathStat),
    readPath: serverStream(v1.PathRequest, v1.FileChunk),
    writePath: clientStream(v1.WritePathRequest, v1.Empty),
  },
} as const;

/** Images and their blobs, for agents and other managers. Source: dispatcher.proto. */
export const Images = {
  name: 'covey.v1.Images',
  methods: {
    fetchBlob: serverStream(v1.FetchBlobRequest, v1.BlobChunk),
    putImage: bidi(v1.PutImageInput, v1.PutImageOutput),
    resolveImage: unary(v1.ResolveImageRequest, v1.Image),
    usedImages: unary(v1.BlobList, v1.BlobList),
    joinSwarm: serverStream(v1.JoinSwarmRequest, v1.SwarmNews),
    takePiece: serverStream(v1.TakePieceRequest, v1.TakenPiece),
  },
} as const;

/** Pieces of blobs between agents. Source: dispatcher.proto. */
export const Mesh = {
  name: 'covey.v1.Mesh',
  methods: { exchange: bidi(v1.ExchangeAsk, v1.ExchangeOffer) },
} as const;

/** Certificates. Source: ca.proto. */
export const Ca = {
  name: 'covey.v1.Ca',
  methods: { issue: unary(v1.IssueRequest, v1.IssueReply), renew: unary(v1.RenewRequest, v1.IssueReply) },
} as const;

/** A method's name on the wire: the table's key with a capital. */
export function pathOf(table: ServiceTable, method: string): string {
  return `/${table.name}/${method.charAt(0).toUpperCase()}${method.slice(1)}`;
}
