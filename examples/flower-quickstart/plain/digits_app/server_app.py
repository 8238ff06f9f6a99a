"""The ServerApp: what brings the sites together."""

from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from digits_app.task import Net, accuracy, load_site

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    run = context.run_config
    strategy = FedAvg(fraction_evaluate=0.0)
    result = strategy.start(
        grid,
        ArrayRecord(Net().state_dict()),
        num_rounds=run["num-server-rounds"],
        train_config=ConfigRecord({"epochs": run["local-epochs"], "lr": run["learning-rate"]}),
        evaluate_fn=lambda _, arrays: evaluate(arrays),
    )
    print(
        "accuracy by round:",
        {number: round(each["accuracy"], 3) for number, each in result.evaluate_metrics_serverapp.items()},
    )


def evaluate(arrays: ArrayRecord) -> MetricRecord:
    model = Net()
    model.load_state_dict(arrays.to_torch_state_dict())
    return MetricRecord({"accuracy": accuracy(model, load_site(-1, 1))})
