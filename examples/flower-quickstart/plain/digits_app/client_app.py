"""The ClientApp: what runs at each site."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from digits_app.task import Net, load_site, train

app = ClientApp()


@app.train()
def train_here(message: Message, context: Context) -> Message:
    model = Net()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    data = load_site(context.node_config["partition-id"], context.node_config["num-partitions"])
    settings = message.content["config"]
    loss = train(model, data, settings["epochs"], settings["lr"])
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(data[1])})
    return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}), reply_to=message)
